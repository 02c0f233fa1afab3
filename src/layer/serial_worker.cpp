#include "layer/serial_worker.h"

#include <utility>

namespace nerofs::layer {

serial_worker::serial_worker() : thread_([this](const std::stop_token& stop) { run(stop); }) {}

void serial_worker::give(std::function<void()> work) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return waiting_.size() < most_waiting; });
    waiting_.push_back(std::move(work));
    changed_.notify_all();
}

void serial_worker::drain() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return waiting_.empty() && !busy_; });
    if (thrown_) std::rethrow_exception(std::exchange(thrown_, nullptr));
}

void serial_worker::run(const std::stop_token& stop) {
    std::unique_lock lock(mutex_);
    while (changed_.wait(lock, stop, [&] { return !waiting_.empty(); }) && !stop.stop_requested()) {
        const std::function<void()> work = std::move(waiting_.front());
        waiting_.pop_front();
        busy_ = true;
        lock.unlock();
        std::exception_ptr thrown;
        try {
            work();
        } catch (...) {
            thrown = std::current_exception();
        }
        lock.lock();
        if (thrown && !thrown_) thrown_ = thrown;
        busy_ = false;
        changed_.notify_all();
    }
}

}  // namespace nerofs::layer
