#include "os/channel.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

namespace nerofs::os {
namespace {

result<sockaddr_un> address_of(const std::string& path) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (path.size() >= sizeof address.sun_path) return fail(errno_error(ENAMETOOLONG, "socket '" + path + "'"));
    std::memcpy(address.sun_path, path.data(), path.size());
    return address;
}

result<std::pair<unique_fd, unique_fd>> pair_of(int type) {
    int ends[2];
    if (::socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, ends) != 0) return fail_errno("socketpair");
    return std::pair(unique_fd(ends[0]), unique_fd(ends[1]));
}

bool peer_is_gone(int code) {
    return code == EPIPE || code == ECONNRESET;
}

result<packet> receive_packet(fd_ref socket, int flags) {
    packet received;
    received.bytes.resize(channel::max_packet_bytes);
    iovec vector{received.bytes.data(), received.bytes.size()};
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int) * channel::max_packet_fds) + CMSG_SPACE(sizeof(ucred))];
    msghdr message{};
    message.msg_iov = &vector;
    message.msg_iovlen = 1;
    message.msg_control = control;
    message.msg_controllen = sizeof control;
    ssize_t n;
    do n = ::recvmsg(socket.get(), &message, MSG_CMSG_CLOEXEC | flags);
    while (n < 0 && errno == EINTR);
    if (n < 0) {
        if (peer_is_gone(errno)) return fail(error_kind::cancelled, "the other side closed the channel", errno);
        return fail_errno("receive a message");
    }
    for (cmsghdr* c = CMSG_FIRSTHDR(&message); c; c = CMSG_NXTHDR(&message, c)) {
        if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_CREDENTIALS) {
            ucred sender{};
            std::memcpy(&sender, CMSG_DATA(c), sizeof sender);
            received.sender = sender.pid;
        }
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS) continue;
        const std::size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (std::size_t i = 0; i < count; ++i) {
            int fd;
            std::memcpy(&fd, CMSG_DATA(c) + i * sizeof fd, sizeof fd);
            received.fds.emplace_back(fd);
        }
    }
    if (message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) return fail(error_kind::corrupt, "a message was too long");
    // Every packet of ours has a body, so an empty read is the end of the stream.
    if (n == 0) return fail(error_kind::cancelled, "the other side closed the channel", EPIPE);
    received.bytes.resize(static_cast<std::size_t>(n));
    return received;
}

}  // namespace

result<std::pair<channel, channel>> channel::make_pair() {
    NEROFS_TRY(auto ends, pair_of(SOCK_SEQPACKET));
    return std::pair(channel(std::move(ends.first)), channel(std::move(ends.second)));
}

status channel::send(std::span<const std::byte> bytes, std::span<const fd_ref> fds) const {
    if (bytes.empty() || bytes.size() > max_packet_bytes || fds.size() > max_packet_fds)
        return fail(error_kind::usage, "a message is too long");
    iovec vector{const_cast<std::byte*>(bytes.data()), bytes.size()};
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int) * max_packet_fds)] = {};
    msghdr message{};
    message.msg_iov = &vector;
    message.msg_iovlen = 1;
    if (!fds.empty()) {
        message.msg_control = control;
        message.msg_controllen = CMSG_SPACE(sizeof(int) * fds.size());
        cmsghdr* c = CMSG_FIRSTHDR(&message);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof(int) * fds.size());
        for (std::size_t i = 0; i < fds.size(); ++i) {
            const int fd = fds[i].get();
            std::memcpy(CMSG_DATA(c) + i * sizeof fd, &fd, sizeof fd);
        }
    }
    ssize_t n;
    do n = ::sendmsg(socket_.get(), &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    while (n < 0 && errno == EINTR);
    if (n < 0) {
        if (peer_is_gone(errno)) return fail(error_kind::cancelled, "the other side closed the channel", errno);
        return fail_errno("send a message");
    }
    return {};
}

result<packet> channel::receive(deadline until) const {
    NEROFS_CHECK(wait_readable(socket_, until));
    return receive_packet(socket_, MSG_DONTWAIT);
}

result<packet> channel::receive_now() const {
    return receive_packet(socket_, MSG_DONTWAIT);
}

result<unique_fd> listen_at(const std::string& path) {
    NEROFS_TRY(const sockaddr_un address, address_of(path));
    unique_fd socket(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!socket) return fail_errno("socket");
    ::unlink(path.c_str());
    if (::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 ||
        ::listen(socket.get(), 16) != 0)
        return fail_errno("listen at '" + path + "'");
    return socket;
}

result<channel> connect_to(const std::string& path) {
    NEROFS_TRY(const sockaddr_un address, address_of(path));
    unique_fd socket(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
    if (!socket) return fail_errno("socket");
    const int on = 1;
    ::setsockopt(socket.get(), SOL_SOCKET, SO_PASSCRED, &on, sizeof on);
    if (::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
        error e = errno_error("connect to '" + path + "'");
        if (e.code == ECONNREFUSED) e.kind = error_kind::not_found;
        return fail(std::move(e));
    }
    return channel(std::move(socket));
}

result<channel> accept_from(fd_ref listening) {
    unique_fd socket(::accept4(listening.get(), nullptr, nullptr, SOCK_CLOEXEC));
    if (!socket) return fail_errno("accept");
    return channel(std::move(socket));
}

result<peer_credentials> peer_of(const channel& c) {
    ucred found{};
    socklen_t size = sizeof found;
    if (::getsockopt(c.fd().get(), SOL_SOCKET, SO_PEERCRED, &found, &size) != 0) return fail_errno("SO_PEERCRED");
    return peer_credentials{found.pid, found.uid};
}

result<std::pair<unique_fd, unique_fd>> stream_pair() {
    return pair_of(SOCK_STREAM);
}

status wait_readable(std::span<const fd_ref> fds, deadline until) {
    using std::chrono::milliseconds;
    std::array<pollfd, 4> polled{};
    const std::size_t count = std::min(fds.size(), polled.size());
    for (std::size_t i = 0; i < count; ++i) polled[i] = {fds[i].get(), POLLIN, 0};
    for (;;) {
        const auto left = std::chrono::ceil<milliseconds>(until - std::chrono::steady_clock::now());
        const int n =
            ::poll(polled.data(), count, static_cast<int>(std::clamp<milliseconds::rep>(left.count(), 0, 1 << 30)));
        if (n > 0) return {};
        if (n < 0 && errno != EINTR) return fail_errno("poll");
        if (n == 0 && left.count() <= 0) return fail(error_kind::timeout, "no answer in time", ETIMEDOUT);
    }
}

}  // namespace nerofs::os
