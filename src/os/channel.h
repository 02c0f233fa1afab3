// A channel between two of our processes: whole packets in order, each with the descriptors it carries.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstddef>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"

namespace nerofs::os {

using deadline = std::chrono::steady_clock::time_point;
inline deadline in_time(std::chrono::milliseconds from_now) {
    return std::chrono::steady_clock::now() + from_now;
}

struct packet {
    std::vector<std::byte> bytes;
    std::vector<unique_fd> fds;
    pid_t sender = 0;  // the sending process, told by the kernel; only on channels made by connect_to
};

// One end of a SOCK_SEQPACKET unix socket. Not shared between threads without a lock.
class channel {
  public:
    static constexpr std::size_t max_packet_bytes = 65536;
    static constexpr std::size_t max_packet_fds = 160;

    channel() = default;
    explicit channel(unique_fd socket) : socket_(std::move(socket)) {}

    static result<std::pair<channel, channel>> make_pair();

    // Sends one packet whole. Doesn't block for longer than the peer is slow: a full queue is an error of kind
    // retryable. A peer that is gone is kind cancelled.
    status send(std::span<const std::byte> bytes, std::span<const fd_ref> fds = {}) const;

    // Waits for one packet. Kind timeout when the deadline passes, kind cancelled when the peer has closed its end.
    result<packet> receive(deadline until) const;
    // The packet that is there now; kind retryable (EAGAIN) if there is none.
    result<packet> receive_now() const;

    fd_ref fd() const { return socket_; }
    explicit operator bool() const { return static_cast<bool>(socket_); }
    void close() { socket_.reset(); }
    unique_fd release() { return std::move(socket_); }

  private:
    unique_fd socket_;
};

// A listening SEQPACKET socket at `path` (mode 0600 by the caller's umask), replacing a dead one of that name.
result<unique_fd> listen_at(const std::string& path);
// Kind not_found when nobody listens there.
result<channel> connect_to(const std::string& path);
// Accepts one connection that is waiting; kind retryable when there is none.
result<channel> accept_from(fd_ref listening);

struct peer_credentials {
    pid_t pid = 0;
    uid_t uid = 0;
};
result<peer_credentials> peer_of(const channel& c);

// A connected pair of AF_UNIX stream sockets (the only kind besides TCP that the NBD driver takes).
result<std::pair<unique_fd, unique_fd>> stream_pair();

// Waits until one of the descriptors is readable (or hung up); at most 4. Kind timeout when the deadline passes.
status wait_readable(std::span<const fd_ref> fds, deadline until);
inline status wait_readable(fd_ref fd, deadline until) {
    return wait_readable(std::span(&fd, 1), until);
}

}  // namespace nerofs::os
