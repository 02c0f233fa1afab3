#include "serve/client_handshake.h"

#include <sys/socket.h>

#include <array>
#include <cerrno>

#include "nbd/handshake.h"

namespace nerofs::serve {
namespace {

status send_all(fd_ref socket, std::span<const std::byte> bytes) {
    while (!bytes.empty()) {
        // Never blocks: an answer is far smaller than a socket's buffer, and a client that doesn't read is turned away.
        const ssize_t n = ::send(socket.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return fail_errno("send to the client");
        bytes = bytes.subspan(static_cast<std::size_t>(n));
    }
    return {};
}

}  // namespace

status negotiate(fd_ref socket, const export_description& exported, os::deadline until) {
    nbd::handshake machine({exported.size, exported.name, {}, exported.block_size});
    NEROFS_CHECK(send_all(socket, nbd::handshake::greeting()));
    std::array<std::byte, 4096> buffer;
    for (;;) {
        NEROFS_CHECK(os::wait_readable(socket, until));
        // Looked at first, then taken as far as it belongs to the handshake: what follows is the request loop's.
        const ssize_t seen = ::recv(socket.get(), buffer.data(), buffer.size(), MSG_PEEK);
        if (seen < 0 && errno == EINTR) continue;
        if (seen <= 0) return fail(error_kind::cancelled, "the client left during the handshake");
        const nbd::handshake_step step = machine.next(std::span(buffer).first(static_cast<std::size_t>(seen)));
        if (step.consumed > 0 && ::recv(socket.get(), buffer.data(), step.consumed, 0) < 0)
            return fail_errno("receive from the client");
        NEROFS_CHECK(send_all(socket, step.send));
        if (step.state == nbd::handshake_state::transmission) return {};
        if (step.state == nbd::handshake_state::closed) {
            const bool clean = machine.reason() == nbd::close_reason::aborted;
            return fail(clean ? error_kind::cancelled : error_kind::usage, std::string(to_string(machine.reason())));
        }
    }
}

}  // namespace nerofs::serve
