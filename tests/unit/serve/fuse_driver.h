// The kernel's FUSE driver, as far as a channel sees it: a socket that keeps packets apart is read and written as
// /dev/fuse is, one request a read, one answer a write. And a channel in a thread.
#pragma once

#include <linux/fuse.h>

#include <map>

#include "serve/fuse_channel.h"
#include "support.h"

namespace nerofs::serve {

inline std::pair<unique_fd, unique_fd> packet_pair() {
    int ends[2] = {-1, -1};
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
    const int size = 4 << 20;
    for (const int end : ends) ::setsockopt(end, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof size);
    for (const int end : ends) ::setsockopt(end, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
    return {unique_fd(ends[0]), unique_fd(ends[1])};
}

template <class T>
bytes bytes_of(const T& value) {
    const auto raw = std::as_bytes(std::span(&value, 1));
    return {raw.begin(), raw.end()};
}

inline constexpr std::uint64_t root_node = 1;
inline constexpr std::uint64_t file_node = 2;

inline bytes fuse_request(std::uint32_t opcode, std::uint64_t unique, std::uint64_t node, const bytes& arguments = {}) {
    fuse_in_header header{};
    header.len = static_cast<std::uint32_t>(sizeof header + arguments.size());
    header.opcode = opcode;
    header.unique = unique;
    header.nodeid = node;
    bytes all = bytes_of(header);
    all.insert(all.end(), arguments.begin(), arguments.end());
    return all;
}
inline bytes fuse_read(std::uint64_t unique, std::uint64_t offset, std::uint32_t length) {
    fuse_read_in in{};
    in.offset = offset;
    in.size = length;
    return fuse_request(FUSE_READ, unique, file_node, bytes_of(in));
}

struct fuse_answer {
    std::uint64_t unique = 0;
    std::int32_t error = 0;  // an errno
    bytes body;

    template <class T>
    T as() const {
        T value{};
        EXPECT_EQ(body.size(), sizeof value);
        if (body.size() == sizeof value) std::memcpy(&value, body.data(), sizeof value);
        return value;
    }
};

// The driver's end. What it waits for comes within 30 s or not at all.
class fuse_driver {
  public:
    explicit fuse_driver(unique_fd socket) : socket_(std::move(socket)) {
        const timeval limit{.tv_sec = 30, .tv_usec = 0};
        ::setsockopt(socket_.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    }

    void ask(const bytes& request) const {
        ASSERT_EQ(::send(socket_.get(), request.data(), request.size(), MSG_NOSIGNAL),
                  static_cast<ssize_t>(request.size()));
    }
    // nullopt: the channel has ended. An answer whose length isn't what its header says is a failure.
    std::optional<fuse_answer> take() const {
        bytes got((1u << 20) + 4096);
        const ssize_t n = ::recv(socket_.get(), got.data(), got.size(), 0);
        if (n <= 0) return std::nullopt;
        fuse_out_header header;
        EXPECT_GE(static_cast<std::size_t>(n), sizeof header);
        std::memcpy(&header, got.data(), sizeof header);
        EXPECT_EQ(header.len, static_cast<std::uint32_t>(n)) << "the driver takes no such answer";
        EXPECT_TRUE(header.error <= 0 || header.unique == 0) << "neither an errno nor a notice";
        if (header.error != 0) {
            EXPECT_EQ(header.len, sizeof header);
        }
        return fuse_answer{header.unique, -header.error,
                           bytes(got.begin() + sizeof header, got.begin() + static_cast<std::ptrdiff_t>(n))};
    }
    fuse_answer take(std::uint64_t unique) const {
        const auto got = take();
        EXPECT_TRUE(got) << "no answer to " << unique;
        if (!got) return {};
        EXPECT_EQ(got->unique, unique);
        return *got;
    }
    fuse_answer call(const bytes& request) const {
        std::uint64_t unique = 0;
        std::memcpy(&unique, request.data() + offsetof(fuse_in_header, unique), sizeof unique);
        ask(request);
        return take(unique);
    }
    void expect_read(std::uint64_t unique, std::uint64_t offset, std::size_t length) const {
        const fuse_answer a = take(unique);
        EXPECT_EQ(a.error, 0) << "of " << unique;
        EXPECT_EQ(a.body.size(), length) << "of " << unique;
        EXPECT_TRUE(is_content(a.body, offset)) << length << " bytes at " << offset;
    }
    void read(std::uint64_t unique, std::uint64_t offset, std::uint32_t length) const {
        ask(fuse_read(unique, offset, length));
        expect_read(unique, offset, length);
    }
    void unmount() const { ::shutdown(socket_.get(), SHUT_WR); }
    void expect_no_more() const {
        char any;
        EXPECT_LE(::recv(socket_.get(), &any, 1, 0), 0) << "an answer to nothing";
    }
    bool silent() const {
        char any;
        return ::recv(socket_.get(), &any, 1, MSG_DONTWAIT | MSG_PEEK) < 0 && errno == EAGAIN;
    }

  private:
    unique_fd socket_;
};

}  // namespace nerofs::serve
