// What a request of the kernel's FUSE driver asks of a file system that is one directory with one file, the image; and
// the answer to it. Pure: bytes in, a verdict out. The structures are those of <linux/fuse.h>, protocol 7.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace nerofs::serve::fuse {

// The file's name in the root directory.
inline constexpr std::string_view image_name = "image";

// The longest read the kernel is told to ask for; what asks for more is refused.
inline constexpr std::uint32_t max_read_bytes = 1u << 20;

// The driver refuses to hand a request to a buffer that is smaller (FUSE_MIN_READ_BUFFER). No request that is answered
// with more than an error is as long as `max_known_request_bytes`.
inline constexpr std::size_t read_buffer_bytes = 8192;
inline constexpr std::size_t max_known_request_bytes = 512;

enum class action : std::uint8_t {
    drop,    // not a request of the driver
    ignore,  // one that has no answer
    answer,  // `error`, or `body_bytes` of `body`
    read,    // `length` bytes of the image from `offset` on, which lie inside it
};

struct verdict {
    action what = action::drop;
    std::int32_t error = 0;    // an errno
    std::uint64_t unique = 0;  // the request's name in its answer
    std::uint64_t offset = 0;
    std::uint32_t length = 0;
    std::uint32_t body_bytes = 0;
    alignas(8) std::array<std::byte, 128> body{};
};

// Whether two headers' worth of bytes begin a request, and how long it says it is; 0: no request.
std::uint32_t request_bytes(std::span<const std::byte> begin);
// The request's unique number.
std::uint64_t unique_of(std::span<const std::byte> begin);

// Judges a request, which may be cut off behind max_known_request_bytes.
verdict judge(std::span<const std::byte> request, std::uint64_t image_bytes);

// The header of every answer, which is one write(2) of header and body.
struct reply_header {
    std::uint32_t length;
    std::int32_t error;  // 0, or minus an errno
    std::uint64_t unique;
};
constexpr reply_header make_reply(std::uint64_t unique, std::int32_t error, std::uint32_t body_bytes) {
    return {static_cast<std::uint32_t>(sizeof(reply_header)) + (error == 0 ? body_bytes : 0), -error, unique};
}
// Not an answer: asks the driver to hand out again all that it has handed out and that hasn't been answered. Refused
// (EINVAL) before Linux 6.9.
inline constexpr reply_header resend_all{sizeof(reply_header), 7, 0};

}  // namespace nerofs::serve::fuse
