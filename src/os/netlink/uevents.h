// The kernel's device events (NETLINK_KOBJECT_UEVENT): how one learns that a device changed without polling.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "base/unique_fd.h"
#include "os/channel.h"

namespace nerofs::os {

class uevents {
  public:
    // From now on events are queued.
    static result<uevents> open();

    // Calls `check` now and after each event, and whenever `also` becomes readable, until it returns true; the
    // condition is read from sysfs by the caller, an event only says that it is worth looking again. Kind timeout when
    // the deadline passes.
    status wait_until(const std::function<bool()>& check, fd_ref also, deadline until) const;

  private:
    explicit uevents(unique_fd socket) : socket_(std::move(socket)) {}
    unique_fd socket_;
};

}  // namespace nerofs::os
