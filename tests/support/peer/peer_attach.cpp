// Leaves behind what a crashed mount.erofs of erofs-utils 1.9 does: a device connected by netlink with the peer's
// attributes (one socket, blocks of 512 bytes, a size of 8 EiB, no timeout, 30 days for a dead connection), whose
// backend identifier is the path of the recovery file, and nobody at the other end.
//
//     peer_attach RECOVERY-FILE IMAGE [SECONDS]      prints the device's name; holds the other end open for so long
#include <linux/nbd-netlink.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <string>

#include "nbd/protocol.h"
#include "os/channel.h"
#include "os/netlink/genetlink.h"

namespace {

using namespace nerofs;

constexpr std::uint16_t attr_backend_identifier = 10;

status attach(const std::string& recovery_file, const std::string& image, unsigned seconds) {
    std::ofstream(recovery_file) << "LOCAL " << image << "\n";
    NEROFS_TRY(os::genetlink netlink, os::genetlink::open("nbd"));
    NEROFS_TRY(const auto ends, os::stream_pair());
    os::attributes fd;
    fd.put_u32(NBD_SOCK_FD, static_cast<std::uint32_t>(ends.first.get()));
    os::attributes sockets;
    sockets.put_nested(NBD_SOCK_ITEM, fd);
    os::attributes request;
    request.put_u64(NBD_ATTR_BLOCK_SIZE_BYTES, 512)
        .put_u64(NBD_ATTR_SIZE_BYTES, 0x7fffffffffffffff / 512 * 512)
        .put_u64(NBD_ATTR_SERVER_FLAGS, nbd::flag_has_flags | nbd::flag_read_only)
        .put_u64(NBD_ATTR_TIMEOUT, 0)
        .put_u64(NBD_ATTR_DEAD_CONN_TIMEOUT, 30 * 24 * 3600)
        .put_text(attr_backend_identifier, recovery_file)
        .put_nested(NBD_ATTR_SOCKETS, sockets);
    NEROFS_CHECK(netlink.call(NBD_CMD_CONNECT, request, os::in_time(std::chrono::seconds(10)),
                              [](std::span<const os::attribute> answer) {
                                  for (const os::attribute& a : answer)
                                      if (a.type == NBD_ATTR_INDEX)
                                          std::printf("nbd%llu\n", static_cast<unsigned long long>(a.number()));
                              }));
    std::fflush(stdout);
    ::sleep(seconds);
    return {};
}

}  // namespace

int main(int argc, char** argv) {
    if (argc < 3) return 2;
    const status done = attach(argv[1], argv[2], argc > 3 ? static_cast<unsigned>(std::atoi(argv[3])) : 0);
    if (!done) std::fprintf(stderr, "%s\n", done.error().message().c_str());
    return done ? 0 : 1;
}
