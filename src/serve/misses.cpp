#include "serve/misses.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <algorithm>
#include <system_error>

namespace nerofs::serve {
namespace {

using namespace std::chrono_literals;

constexpr auto longest_nap = 1s;  // of a watching thread: then what didn't fit the channel is sent again

void signal_event(fd_ref event) {
    const std::uint64_t one = 1;
    (void)!::write(event.get(), &one, sizeof one);
}

}  // namespace

// ---- the desk ----

miss_desk::miss_desk(std::vector<const blob_view*> blobs, std::chrono::milliseconds patience) : patience_(patience) {
    for (const blob_view* blob : blobs) watched_.push_back({blob, {}});
}

miss_desk::~miss_desk() {
    {
        const std::lock_guard lock(mutex_);
        stopping_ = true;
    }
    somebody_waits_.notify_all();
    for (watched& w : watched_) {
        w.blob->map().wake_waiters();
        if (w.thread.joinable()) w.thread.join();
    }
}

status miss_desk::start() try {
    for (watched& w : watched_) w.thread = std::thread([this, blob = w.blob] { watch(*blob); });
    return {};
} catch (const std::system_error& e) {
    return fail(errno_error(e.code().value(), "cannot start a thread"));
}

// Sleeps as long as nobody waits. The first look at the map after that is announced to the waiters, since what came
// between their own look and this one would be overlooked otherwise.
void miss_desk::watch(const blob_view& blob) {
    ::prctl(PR_SET_NAME, "watch");
    std::unique_lock lock(mutex_);
    for (;;) {
        somebody_waits_.wait(lock, [this] { return stopping_ || !armed_.empty(); });
        if (stopping_) return;
        const std::uint32_t seen = blob.map().generation();
        for (const waiter* one : armed_) signal_event(one->event_);
        send_unsent();
        lock.unlock();
        (void)blob.map().wait_change(seen, clock::now() + longest_nap);
        lock.lock();
    }
}

void miss_desk::arm(waiter& w) {
    {
        const std::lock_guard lock(mutex_);
        armed_.push_back(&w);
    }
    somebody_waits_.notify_all();
}

void miss_desk::disarm(waiter& w) {
    const std::lock_guard lock(mutex_);
    std::erase(armed_, &w);
}

std::uint64_t miss_desk::ask(const image_map& map, std::uint64_t offset, std::uint64_t length) {
    const std::lock_guard lock(mutex_);
    const std::uint64_t id = next_id_++;
    map.for_each_missing(offset, length, [&](const blob_view& blob, std::uint64_t at, std::uint64_t n) {
        const cache::missing_piece piece{id, blob.id(), at, n};
        asked_.emplace(id, piece);
        unsent_.push_back(piece);
    });
    return id;
}

void miss_desk::flush() {
    const std::lock_guard lock(mutex_);
    send_unsent();
}

void miss_desk::send_unsent() {
    while (fetcher_ && !unsent_.empty()) {
        const std::size_t count = std::min(unsent_.size(), cache::most_missing_in_packet);
        // A full channel: it is tried again at the next event. A dead one: the next fetcher is told everything.
        if (!cache::send_missing(fetcher_, std::span(unsent_).first(count))) return;
        unsent_.erase(unsent_.begin(), unsent_.begin() + static_cast<std::ptrdiff_t>(count));
    }
    if (!fetcher_) unsent_.clear();
}

void miss_desk::set_fetcher(os::channel to) {
    const std::lock_guard lock(mutex_);
    fetcher_ = std::move(to);
    unsent_.clear();
    if (!fetcher_) return;
    for (const auto& [id, piece] : asked_) unsent_.push_back(piece);
    send_unsent();
}

bool miss_desk::on_fetcher() {
    auto packet = fetcher_.receive_now();
    if (!packet) return packet.error().kind == error_kind::retryable;
    const auto failed = cache::decode_read_failed(*packet);
    if (!failed) return true;
    const std::lock_guard lock(mutex_);
    if (asked_.count(*failed) == 0) return true;
    failed_.insert(*failed);
    for (const waiter* one : armed_) signal_event(one->event_);
    return true;
}

bool miss_desk::has_failed(std::uint64_t id) const {
    const std::lock_guard lock(mutex_);
    return failed_.count(id) != 0;
}

void miss_desk::forget(std::uint64_t id) {
    const std::lock_guard lock(mutex_);
    asked_.erase(id);
    failed_.erase(id);
}

std::uint64_t miss_desk::waiting_reads() const {
    const std::lock_guard lock(mutex_);
    return asked_.size();
}

// ---- a thread's reads ----

result<waiter> waiter::make(miss_desk& desk, const image_map& map) {
    unique_fd event(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    if (!event) return fail_errno("eventfd");
    return waiter(desk, map, std::move(event));
}

waiter::~waiter() {
    if (!event_) return;
    if (armed_) desk_->disarm(*this);
    for (const read& r : reads_) desk_->forget(r.id);
}

void waiter::add(std::uint64_t tag, std::uint64_t offset, std::uint64_t length) {
    reads_.push_back(
        {tag, offset, length, desk_->ask(*map_, offset, length), miss_desk::clock::now() + desk_->patience_});
}

void waiter::begin_settling() {
    std::uint64_t count;
    (void)!::read(event_.get(), &count, sizeof count);
    // Before the look at what came: what comes after it is told.
    if (!armed_ && !reads_.empty()) {
        armed_ = true;
        desk_->arm(*this);
    }
    desk_->flush();
}

void waiter::end_settling() {
    if (!armed_ || !reads_.empty()) return;
    armed_ = false;
    desk_->disarm(*this);
}

waiter::verdict waiter::look(const read& r) const {
    switch (map_->lookup(r.offset, r.length)) {
        case cache::presence::there:
            return verdict::there;
        case cache::presence::failed:
            return verdict::failed;
        case cache::presence::missing:
            break;
    }
    return desk_->has_failed(r.id) || miss_desk::clock::now() >= r.until ? verdict::failed : verdict::waits;
}

void waiter::leave(const read& r) {
    desk_->forget(r.id);
}

bool waiter::wait(fd_ref own, short events) {
    const auto first =
        std::min_element(reads_.begin(), reads_.end(), [](const read& a, const read& b) { return a.until < b.until; });
    int timeout = -1;
    if (first != reads_.end()) {
        const auto left = std::chrono::ceil<std::chrono::milliseconds>(first->until - miss_desk::clock::now());
        timeout = static_cast<int>(std::clamp<std::int64_t>(left.count(), 0, 3'600'000));
    }
    pollfd fds[2] = {{event_.get(), POLLIN, 0}, {own.get(), events, 0}};
    return ::poll(fds, 2, timeout) > 0 && fds[0].revents == 0;
}

}  // namespace nerofs::serve
