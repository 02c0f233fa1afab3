#include "os/netlink/uevents.h"

#include <linux/netlink.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>

namespace nerofs::os {

result<uevents> uevents::open() {
    unique_fd socket(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_KOBJECT_UEVENT));
    if (!socket) return fail_errno("uevent socket");
    sockaddr_nl address{};
    address.nl_family = AF_NETLINK;
    address.nl_groups = 1;  // the kernel's own events; 2 would be udev's
    if (::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
        return fail_errno("uevent socket");
    return uevents(std::move(socket));
}

status uevents::wait_until(const std::function<bool()>& check, fd_ref also, deadline until) const {
    while (!check()) {
        NEROFS_CHECK(wait_readable(std::array{fd_ref(socket_), also}, until));
        char event[8192];
        // Drained before the next look: what they say doesn't matter, and an overrun (ENOBUFS) is a reason to look,
        // too.
        while (::recv(socket_.get(), event, sizeof event, 0) >= 0 || errno == ENOBUFS || errno == EINTR) {
        }
    }
    return {};
}

}  // namespace nerofs::os
