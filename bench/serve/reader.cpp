#include "serve/reader.h"

#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string>

namespace nerofs::bench {
namespace {

constexpr std::size_t buffer_bytes = 1024 * 1024;
constexpr std::size_t page_bytes = 4096;

}  // namespace

reader::reader(fd_ref socket, const load& what, std::uint64_t seed, std::span<const std::byte> expected)
    : socket_(socket),
      load_(what),
      random_(seed * 0x9e3779b97f4a7c15 + 1),
      expected_(expected),
      offsets_(what.depth),
      in_flight_(what.depth),
      buffer_(buffer_bytes) {}

result<std::uint64_t> reader::run(clock::time_point until) {
    std::uint64_t replies = 0;
    bool more = true;
    for (std::uint32_t slot = 0; slot < load_.depth; ++slot) ask(slot);
    while (asked_ > 0) {
        NEROFS_CHECK(send_questions());
        NEROFS_CHECK(load_.how == manner::batched ? receive_some() : receive_reply());
        more = more && clock::now() < until;
        replies += done_.size();
        if (more)
            for (const std::uint32_t slot : done_) ask(slot);
        done_.clear();
    }
    return replies;
}

void reader::ask(std::uint32_t slot) {
    random_ ^= random_ << 13;
    random_ ^= random_ >> 7;
    random_ ^= random_ << 17;
    offsets_[slot] = random_ % (load_.device_bytes / load_.length) * load_.length;
    in_flight_[slot] = true;
    ++asked_;
    questions_.push_back(nbd::make_request(nbd::cmd::read, slot, offsets_[slot], load_.length));
}

status reader::send_questions() {
    std::span<const std::byte> left = std::as_bytes(std::span(questions_));
    while (!left.empty()) {
        const std::size_t n = load_.how == manner::batched ? left.size() : sizeof(nbd::request);
        const ssize_t sent = ::send(socket_.get(), left.data(), n, MSG_NOSIGNAL);
        if (sent < 0) return fail_errno("send");
        left = left.subspan(static_cast<std::size_t>(sent));
    }
    questions_.clear();
    return {};
}

status reader::receive_some() {
    const ssize_t n = ::recv(socket_.get(), buffer_.data(), buffer_.size(), 0);
    if (n < 0) return fail_errno("recv");
    if (n == 0) return fail(error_kind::permanent, "the server closed the connection");
    return absorb(std::span(buffer_).first(static_cast<std::size_t>(n)));
}

status reader::receive_exactly(std::span<std::byte> into) {
    const ssize_t n = ::recv(socket_.get(), into.data(), into.size(), MSG_WAITALL);
    if (n < 0) return fail_errno("recv");
    if (static_cast<std::size_t>(n) != into.size())
        return fail(error_kind::permanent, "the server closed the connection");
    return absorb(into);
}

status reader::receive_reply() {
    NEROFS_CHECK(receive_exactly(std::span(buffer_).first(sizeof header_)));
    while (data_left_ > 0)
        NEROFS_CHECK(receive_exactly(std::span(buffer_).first(std::min<std::size_t>(data_left_, page_bytes))));
    return {};
}

status reader::absorb(std::span<const std::byte> bytes) {
    while (!bytes.empty()) {
        if (data_left_ == 0) {
            const std::size_t n = std::min(sizeof header_ - header_have_, bytes.size());
            std::memcpy(reinterpret_cast<std::byte*>(&header_) + header_have_, bytes.data(), n);
            header_have_ += n;
            bytes = bytes.subspan(n);
            if (header_have_ == sizeof header_) NEROFS_CHECK(begin_reply());
            continue;
        }
        const std::size_t n = std::min<std::size_t>(data_left_, bytes.size());
        if (!expected_.empty()) NEROFS_CHECK(check(bytes.first(n)));
        data_left_ -= static_cast<std::uint32_t>(n);
        bytes = bytes.subspan(n);
        if (data_left_ == 0) {
            in_flight_[slot_] = false;
            --asked_;
            done_.push_back(slot_);
        }
    }
    return {};
}

status reader::begin_reply() {
    header_have_ = 0;
    const std::uint64_t cookie = header_.cookie;
    if (header_.magic != nbd::simple_reply_magic || header_.error != 0u || cookie >= load_.depth || !in_flight_[cookie])
        return fail(error_kind::corrupt, "a wrong reply");
    slot_ = static_cast<std::uint32_t>(cookie);
    data_left_ = load_.length;
    return {};
}

status reader::check(std::span<const std::byte> data) {
    const std::uint64_t at = offsets_[slot_] + load_.length - data_left_;
    if (std::memcmp(expected_.data() + at, data.data(), data.size()) == 0) return {};
    return fail(error_kind::corrupt, "wrong bytes at " + std::to_string(at));
}

}  // namespace nerofs::bench
