// One thread that does pieces of work in the order in which they are given to it.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <exception>
#include <functional>
#include <mutex>
#include <stop_token>
#include <thread>

namespace nerofs::layer {

// No more than `most_waiting` pieces of work wait, and one is being done: what was given more than that before is over.
// Given and drained by one thread. Its end waits for what is being done, and forgets what waits.
class serial_worker {
  public:
    static constexpr std::size_t most_waiting = 4;

    serial_worker();

    // Blocks while as many as that wait.
    void give(std::function<void()> work);
    // Returns when nothing is left to do. Rethrows what work has thrown.
    void drain();

  private:
    void run(const std::stop_token& stop);

    std::mutex mutex_;
    std::condition_variable_any changed_;
    std::deque<std::function<void()>> waiting_;
    bool busy_ = false;
    std::exception_ptr thrown_;
    std::jthread thread_;
};

}  // namespace nerofs::layer
