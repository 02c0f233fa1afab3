// NBD by generic netlink (<linux/nbd-netlink.h>): the driver chooses the device, keeps it over the death of its server,
// and tells nobody's device apart by process ids.
#include <linux/nbd-netlink.h>

#include <cerrno>

#include "base/fault.h"
#include "mount/keeper/nbd_device.h"
#include "mount/record.h"
#include "nbd/protocol.h"
#include "os/netlink/genetlink.h"

#ifndef NBD_CFLAG_DISCONNECT_ON_CLOSE
#define NBD_CFLAG_DISCONNECT_ON_CLOSE (1 << 1)
#endif

namespace nerofs::mount {
namespace {

using namespace std::chrono_literals;

// The driver answers at once; what takes longer is stuck behind a device's mutex.
constexpr auto answer_time = 10s;
// NBD_ATTR_BACKEND_IDENTIFIER (Linux 5.14); older headers don't name it.
constexpr std::uint16_t attr_backend_identifier = 10;

os::attributes socket_list(std::span<const fd_ref> sockets) {
    os::attributes list;
    for (const fd_ref socket : sockets) {
        os::attributes fd;
        fd.put_u32(NBD_SOCK_FD, static_cast<std::uint32_t>(socket.get()));
        os::attributes item;
        list.put_nested(NBD_SOCK_ITEM, fd);
    }
    return list;
}

class netlink_device final : public nbd_device {
  public:
    netlink_device(int index, std::string backend, os::genetlink netlink)
        : nbd_device(index), backend_(std::move(backend)), netlink_(std::move(netlink)) {}

    std::string transport() const override { return "nbd (netlink)"; }

    bool connected() const override {
        const nbd_state state = nbd_state_of(index());
        return state.connected && (state.backend.empty() || state.backend == backend_);
    }

    status enable_autoclear() override {
        os::attributes request = about_this_device();
        request.put_u64(NBD_ATTR_CLIENT_FLAGS, NBD_CFLAG_DISCONNECT_ON_CLOSE);
        return call(NBD_CMD_RECONFIGURE, request);
    }

    status replace_socket(fd_ref kernel_end) override {
        os::attributes request = about_this_device();
        request.put_nested(NBD_ATTR_SOCKETS, socket_list(std::span(&kernel_end, 1)));
        return call(NBD_CMD_RECONFIGURE, request);
    }

    status disconnect() override {
        os::attributes request;
        request.put_u32(NBD_ATTR_INDEX, static_cast<std::uint32_t>(index()));
        return call(NBD_CMD_DISCONNECT, request);
    }

    fd_ref kept_fd() const override { return netlink_.fd(); }

  private:
    // RECONFIGURE wants the backend identifier repeated exactly, where the device has one.
    os::attributes about_this_device() const {
        os::attributes request;
        request.put_u32(NBD_ATTR_INDEX, static_cast<std::uint32_t>(index()));
        if (!nbd_state_of(index()).backend.empty()) request.put_text(attr_backend_identifier, backend_);
        return request;
    }

    status call(std::uint8_t command, const os::attributes& request) {
        auto done = netlink_.call(command, request, os::in_time(answer_time));
        if (!done) return fail(std::move(done).error().in(name()));
        return {};
    }

    std::string backend_;
    os::genetlink netlink_;
};

}  // namespace

result<std::unique_ptr<attached_device>> connect_by_netlink(const nbd_parameters& p,
                                                            const std::vector<unique_fd>& kernel_ends) {
    if (const int code = fault::point("netlink.open"); code != 0) return fail(errno_error(code, "netlink"));
    NEROFS_TRY(os::genetlink netlink, os::genetlink::open("nbd"));
    const std::vector<fd_ref> sockets(kernel_ends.begin(), kernel_ends.end());
    os::attributes request;
    request.put_u64(NBD_ATTR_SIZE_BYTES, p.size_bytes)
        .put_u64(NBD_ATTR_BLOCK_SIZE_BYTES, p.block_size)
        .put_u64(NBD_ATTR_SERVER_FLAGS, nbd::transmission_flags)
        .put_u64(NBD_ATTR_TIMEOUT, static_cast<std::uint64_t>(p.timeout.count()))
        .put_u64(NBD_ATTR_DEAD_CONN_TIMEOUT, static_cast<std::uint64_t>(p.dead_timeout.count()))
        .put_text(attr_backend_identifier, p.backend)
        .put_nested(NBD_ATTR_SOCKETS, socket_list(sockets));
    int index = -1;
    if (const int code = fault::point("netlink.connect"); code != 0) return fail(errno_error(code, "netlink"));
    NEROFS_CHECK(netlink.call(NBD_CMD_CONNECT, request, os::in_time(answer_time),
                              [&index](std::span<const os::attribute> answer) {
                                  for (const os::attribute& a : answer)
                                      if (a.type == NBD_ATTR_INDEX) index = static_cast<int>(a.number());
                              }));
    if (index < 0) return fail(error_kind::permanent, "the kernel connected a device and didn't say which", EPROTO);
    return std::make_unique<netlink_device>(index, p.backend, std::move(netlink));
}

result<std::unique_ptr<attached_device>> adopt_by_netlink(int index, const std::string& backend) {
    NEROFS_TRY(os::genetlink netlink, os::genetlink::open("nbd"));
    return std::make_unique<netlink_device>(index, backend, std::move(netlink));
}

status disconnect_by_netlink(int index) {
    NEROFS_TRY(os::genetlink netlink, os::genetlink::open("nbd"));
    return netlink_device(index, {}, std::move(netlink)).disconnect();
}

}  // namespace nerofs::mount
