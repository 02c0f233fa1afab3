#include "os/event_loop.h"

#include <sys/epoll.h>

#include <algorithm>
#include <array>
#include <cerrno>

namespace nerofs::os {

result<event_loop> event_loop::make() {
    unique_fd epoll(::epoll_create1(EPOLL_CLOEXEC));
    if (!epoll) return fail_errno("epoll_create1");
    return event_loop(std::move(epoll));
}

status event_loop::add(fd_ref fd, handler on_ready) {
    return add_events(fd, EPOLLIN, std::move(on_ready));
}

status event_loop::add_hangup(fd_ref socket, handler on_hangup) {
    return add_events(socket, EPOLLRDHUP | EPOLLONESHOT, std::move(on_hangup));
}

status event_loop::add_events(fd_ref fd, unsigned events, handler on_event) {
    epoll_event event{};
    event.events = events;
    event.data.fd = fd.get();
    if (::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd.get(), &event) != 0) return fail_errno("epoll_ctl");
    handlers_[fd.get()] = std::make_shared<handler>(std::move(on_event));
    return {};
}

void event_loop::remove(fd_ref fd) {
    if (handlers_.erase(fd.get()) != 0) ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, fd.get(), nullptr);
}

event_loop::timer_id event_loop::at(deadline when, handler on_time) {
    const timer_id id = next_timer_++;
    timers_.emplace(when, std::pair(id, std::move(on_time)));
    return id;
}

void event_loop::cancel(timer_id id) {
    std::erase_if(timers_, [id](const auto& timer) { return timer.second.first == id; });
}

status event_loop::run() {
    while (!stopped_) {
        int wait_ms = -1;
        if (!timers_.empty()) {
            const auto left =
                std::chrono::ceil<std::chrono::milliseconds>(timers_.begin()->first - std::chrono::steady_clock::now());
            wait_ms = static_cast<int>(std::clamp<std::int64_t>(left.count(), 0, 1 << 30));
        }
        std::array<epoll_event, 16> events{};
        const int n = ::epoll_wait(epoll_.get(), events.data(), static_cast<int>(events.size()), wait_ms);
        if (n < 0 && errno != EINTR) return fail_errno("epoll_wait");
        for (int i = 0; i < n && !stopped_; ++i) {
            const auto found = handlers_.find(events[static_cast<std::size_t>(i)].data.fd);
            if (found == handlers_.end()) continue;  // removed by an earlier handler of this round
            const auto keep_alive = found->second;   // a handler may remove itself
            (*keep_alive)();
        }
        const auto now = std::chrono::steady_clock::now();
        while (!stopped_ && !timers_.empty() && timers_.begin()->first <= now) {
            const handler on_time = std::move(timers_.begin()->second.second);
            timers_.erase(timers_.begin());
            on_time();
        }
    }
    return {};
}

}  // namespace nerofs::os
