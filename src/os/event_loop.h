// One thread's events: descriptors and timers, each with a function to call. Runs until told to stop.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>

#include "base/result.h"
#include "base/unique_fd.h"
#include "os/channel.h"

namespace nerofs::os {

class event_loop {
  public:
    using handler = std::function<void()>;
    using timer_id = std::uint64_t;

    static result<event_loop> make();

    // Calls `on_ready` each time the descriptor is readable or hung up (level-triggered), until remove(). The
    // descriptor stays the caller's and must be removed before it is closed.
    status add(fd_ref fd, handler on_ready);
    // Calls `on_hangup` once, when the peer of a stream socket has closed or shut it down; data doesn't wake this loop.
    status add_hangup(fd_ref socket, handler on_hangup);
    void remove(fd_ref fd);

    // Calls `on_time` once.
    timer_id at(deadline when, handler on_time);
    void cancel(timer_id id);

    // Handles events until stop() is called from a handler.
    status run();
    void stop() { stopped_ = true; }

  private:
    status add_events(fd_ref fd, unsigned events, handler on_event);
    explicit event_loop(unique_fd epoll) : epoll_(std::move(epoll)) {}

    unique_fd epoll_;
    std::map<int, std::shared_ptr<handler>> handlers_;
    std::multimap<deadline, std::pair<timer_id, handler>> timers_;
    timer_id next_timer_ = 1;
    bool stopped_ = false;
};

}  // namespace nerofs::os
