// What the tests of serve share: an image whose bytes are known at each offset, a client that writes its requests by
// hand, and a connection in a thread.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/unique_fd.h"
#include "nbd/protocol.h"
#include "serve/connection.h"
#include "serve/image_map.h"
#include "serve/journal.h"

namespace nerofs::serve {

using bytes = std::vector<std::byte>;

// The sanitizers' run-time makes everything slow, above all the start of a process, and keeps a server from its filter
// and from locking its memory.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
inline constexpr bool sanitized = true;
#else
inline constexpr bool sanitized = false;
#endif

// As server_main does: sendfile(2) has no flag for it.
inline const auto sigpipe_before = ::signal(SIGPIPE, SIG_IGN);

// The image's bytes, in words of eight: no two places look alike, and no byte is 0.
inline std::uint64_t word_at(std::uint64_t index) {
    std::uint64_t x = (index + 1) * 0x9e3779b97f4a7c15;
    x = (x ^ (x >> 29)) * 0xbf58476d1ce4e5b9;
    return (x ^ (x >> 32)) | 0x0101010101010101;
}

inline bytes content(std::uint64_t offset, std::size_t length) {
    const std::uint64_t skip = offset % 8;
    std::vector<std::uint64_t> words((length + skip + 7) / 8);
    for (std::size_t i = 0; i < words.size(); ++i) words[i] = word_at(offset / 8 + i);
    const auto raw = std::as_bytes(std::span(words)).subspan(skip, length);
    return {raw.begin(), raw.end()};
}

inline bool is_content(std::span<const std::byte> got, std::uint64_t offset) {
    const bytes right = content(offset, got.size());
    return got.empty() || std::memcmp(got.data(), right.data(), got.size()) == 0;
}

inline unique_fd memory_file(std::span<const std::byte> initial) {
    unique_fd file(::memfd_create("test", MFD_CLOEXEC));
    EXPECT_TRUE(file);
    for (std::size_t at = 0; at < initial.size();) {
        const ssize_t n = ::pwrite(file.get(), initial.data() + at, initial.size() - at, static_cast<off_t>(at));
        EXPECT_GT(n, 0);
        if (n <= 0) break;
        at += static_cast<std::size_t>(n);
    }
    return file;
}

// An image of that size in one file.
class image {
  public:
    explicit image(std::uint64_t size)
        : file_(memory_file(content(0, size))), map_(image_map::make({{0, size, file_, 0}}).value()) {}

    fd_ref file() const { return file_; }
    const image_map& map() const { return map_; }
    void truncate(std::uint64_t size) const { ASSERT_EQ(::ftruncate(file_.get(), static_cast<off_t>(size)), 0); }

  private:
    unique_fd file_;
    image_map map_;
};

// A journal as a keeper makes it: fresh, shared with children.
class journal_memory {
  public:
    explicit journal_memory(std::size_t connections)
        : size_(journal_bytes(connections)),
          memory_(::mmap(nullptr, size_, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0)),
          journal_(memory_, connections) {}
    ~journal_memory() { ::munmap(memory_, size_); }
    journal_memory(const journal_memory&) = delete;
    journal_memory& operator=(const journal_memory&) = delete;

    const journal& get() const { return journal_; }
    std::span<std::byte> all() const { return {static_cast<std::byte*>(memory_), size_}; }

  private:
    std::size_t size_;
    void* memory_;
    journal journal_;
};

inline std::pair<unique_fd, unique_fd> socket_pair() {
    int ends[2] = {-1, -1};
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    return {unique_fd(ends[0]), unique_fd(ends[1])};
}

// Room for replies that nobody reads yet.
inline void widen(fd_ref fd) {
    const int size = 4 << 20;
    ::setsockopt(fd.get(), SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
}

struct reply {
    std::uint64_t cookie = 0;
    std::uint32_t error = 0;
};

// The client's end of a connection. What it waits for comes within 30 s or not at all.
class client {
  public:
    explicit client(unique_fd socket) : socket_(std::move(socket)) {
        const timeval limit{.tv_sec = 30, .tv_usec = 0};
        ::setsockopt(socket_.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    }

    fd_ref fd() const { return socket_; }
    void send(std::span<const std::byte> data) const {
        while (!data.empty()) {
            const ssize_t n = ::send(socket_.get(), data.data(), data.size(), MSG_NOSIGNAL);
            ASSERT_GT(n, 0);
            data = data.subspan(static_cast<std::size_t>(n));
        }
    }
    void send(const nbd::request& header) const { send(std::as_bytes(std::span(&header, 1))); }
    void ask(nbd::cmd type, std::uint64_t cookie, std::uint64_t offset, std::uint32_t length) const {
        send(nbd::make_request(type, cookie, offset, length));
    }
    // Exactly so many bytes; fewer if the stream ends.
    bytes take_bytes(std::size_t count) const {
        bytes got(count);
        std::size_t at = 0;
        while (at < count) {
            const ssize_t n = ::recv(socket_.get(), got.data() + at, count - at, MSG_WAITALL);
            if (n <= 0) break;
            at += static_cast<std::size_t>(n);
        }
        got.resize(at);
        return got;
    }
    // All there is up to the end of the stream.
    bytes take_all() const {
        bytes all;
        for (bytes part; !(part = take_bytes(4096)).empty();) all.insert(all.end(), part.begin(), part.end());
        return all;
    }
    // The next reply's header; nullopt at the end of the stream, which a test names by expecting one or the other.
    std::optional<reply> take_reply() const {
        const bytes got = take_bytes(sizeof(nbd::simple_reply));
        if (got.size() != sizeof(nbd::simple_reply)) return std::nullopt;
        nbd::simple_reply header;
        std::memcpy(&header, got.data(), sizeof header);
        EXPECT_EQ(header.magic, nbd::simple_reply_magic) << "the stream is out of step";
        return reply{header.cookie, header.error};
    }
    void expect_reply(std::uint64_t cookie, nbd::error_value error = nbd::error_value::none) const {
        const auto got = take_reply();
        ASSERT_TRUE(got) << "no reply to " << cookie;
        EXPECT_EQ(got->cookie, cookie);
        EXPECT_EQ(got->error, static_cast<std::uint32_t>(error)) << "of " << cookie;
    }
    void expect_read(std::uint64_t cookie, std::uint64_t offset, std::size_t length) const {
        ASSERT_NO_FATAL_FAILURE(expect_reply(cookie));
        const bytes got = take_bytes(length);
        ASSERT_EQ(got.size(), length) << "of " << cookie;
        EXPECT_TRUE(is_content(got, offset)) << length << " bytes at " << offset;
    }
    void read(std::uint64_t cookie, std::uint64_t offset, std::uint32_t length) const {
        ask(nbd::cmd::read, cookie, offset, length);
        expect_read(cookie, offset, length);
    }
    void expect_end() const { EXPECT_EQ(take_bytes(1).size(), 0u) << "more bytes than were asked for"; }
    void no_more_requests() const { ::shutdown(socket_.get(), SHUT_WR); }

  private:
    unique_fd socket_;
};

// A connection that serves in a thread of its own, over a fresh journal.
class served : public client {
  public:
    explicit served(const image_map& map, connection_options options = {}) : served(map, options, socket_pair()) {}
    ~served() { finish(); }

    const journal& its_journal() const { return memory_.get(); }
    // How the connection has ended, after the client has no more requests.
    connection_end finish() {
        if (thread_.joinable()) {
            no_more_requests();
            thread_.join();
        }
        return end_;
    }
    // How it ends by itself.
    connection_end wait() {
        if (thread_.joinable()) thread_.join();
        return end_;
    }

  private:
    served(const image_map& map, connection_options options, std::pair<unique_fd, unique_fd> ends)
        : client(std::move(ends.first)), memory_(1), server_(std::move(ends.second)) {
        thread_ =
            std::thread([this, &map, options] { end_ = connection(server_, map, memory_.get(), 0, options).run(); });
    }

    journal_memory memory_;
    unique_fd server_;
    connection_end end_ = connection_end::closed;
    std::thread thread_;
};

}  // namespace nerofs::serve
