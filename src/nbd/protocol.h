// The NBD protocol's numbers and packets, as the public document names them (NetworkBlockDevice/nbd, doc/proto.md)
// without its NBD_ prefix. All numbers on the wire are big-endian except the cookie, which is the client's own eight
// bytes.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "base/endian.h"

namespace nerofs::nbd {

// --- Handshake ---

inline constexpr std::uint64_t init_passwd = 0x4e42444d41474943;      // "NBDMAGIC"
inline constexpr std::uint64_t opts_magic = 0x49484156454f5054;       // "IHAVEOPT"
inline constexpr std::uint64_t opt_reply_magic = 0x0003e889045565a9;  // in front of each answer to an option

// Handshake flags, sent by the server, and the client's answer, bit by bit.
inline constexpr std::uint16_t flag_fixed_newstyle = 1u << 0;
inline constexpr std::uint16_t flag_no_zeroes = 1u << 1;
inline constexpr std::uint32_t flag_c_fixed_newstyle = 1u << 0;
inline constexpr std::uint32_t flag_c_no_zeroes = 1u << 1;

// Transmission flags: what an export can do. The kernel driver's SERVER_FLAGS are these, too.
inline constexpr std::uint16_t flag_has_flags = 1u << 0;
inline constexpr std::uint16_t flag_read_only = 1u << 1;
inline constexpr std::uint16_t flag_send_flush = 1u << 2;
inline constexpr std::uint16_t flag_send_fua = 1u << 3;
inline constexpr std::uint16_t flag_rotational = 1u << 4;
inline constexpr std::uint16_t flag_send_trim = 1u << 5;
inline constexpr std::uint16_t flag_send_write_zeroes = 1u << 6;
inline constexpr std::uint16_t flag_send_df = 1u << 7;
inline constexpr std::uint16_t flag_can_multi_conn = 1u << 8;

// What every export of ours is: read-only, and the same on each connection.
inline constexpr std::uint16_t transmission_flags = flag_has_flags | flag_read_only | flag_can_multi_conn;

enum class opt : std::uint32_t {
    export_name = 1,
    abort = 2,
    list = 3,
    peek_export = 4,  // withdrawn
    starttls = 5,
    info = 6,
    go = 7,
    structured_reply = 8,
    list_meta_context = 9,
    set_meta_context = 10,
    extended_headers = 11,
};

enum class rep : std::uint32_t {
    ack = 1,
    server = 2,
    info = 3,
    meta_context = 4,
    err_unsup = 0x80000001,
    err_policy = 0x80000002,
    err_invalid = 0x80000003,
    err_platform = 0x80000004,
    err_tls_reqd = 0x80000005,
    err_unknown = 0x80000006,
    err_shutdown = 0x80000007,
    err_block_size_reqd = 0x80000008,
    err_too_big = 0x80000009,
    err_ext_header_reqd = 0x8000000a,
};

enum class info : std::uint16_t { export_ = 0, name = 1, description = 2, block_size = 3 };

// The longest string (export name, description, error message) the protocol allows.
inline constexpr std::size_t max_string_bytes = 4096;

struct greeting {  // server to client, first of all
    be64 passwd = init_passwd;
    be64 magic = opts_magic;
    be16 flags = static_cast<std::uint16_t>(flag_fixed_newstyle | flag_no_zeroes);
};

struct option_header {  // client to server; `length` bytes of data follow
    be64 magic;
    be32 option;
    be32 length;
};

struct option_reply {  // server to client; `length` bytes of data follow
    be64 magic;
    be32 option;
    be32 type;
    be32 length;
};

struct export_name_reply {  // answer to opt::export_name; 124 zeroes follow unless both sides said no_zeroes
    be64 size;
    be16 flags;
};
inline constexpr std::size_t export_name_zeroes = 124;

struct info_export_reply {  // data of rep::info
    be16 type;
    be64 size;
    be16 flags;
};

struct info_block_size_reply {  // data of rep::info
    be16 type;
    be32 minimum;
    be32 preferred;
    be32 maximum;
};

// --- Transmission ---

inline constexpr std::uint32_t request_magic = 0x25609513;
inline constexpr std::uint32_t simple_reply_magic = 0x67446698;

enum class cmd : std::uint16_t {
    read = 0,
    write = 1,
    disc = 2,
    flush = 3,
    trim = 4,
    cache = 5,
    write_zeroes = 6,
    block_status = 7,
    resize = 8,
};

inline constexpr std::uint16_t cmd_flag_fua = 1u << 0;
inline constexpr std::uint16_t cmd_flag_no_hole = 1u << 1;
inline constexpr std::uint16_t cmd_flag_df = 1u << 2;
inline constexpr std::uint16_t cmd_flag_req_one = 1u << 3;
inline constexpr std::uint16_t cmd_flag_fast_zero = 1u << 4;

// The only values the error field of a reply may have; those of Linux's errno on its common architectures.
enum class error_value : std::uint32_t {
    none = 0,
    eperm = 1,
    eio = 5,
    enomem = 12,
    einval = 22,
    enospc = 28,
    eoverflow = 75,
    enotsup = 95,
    eshutdown = 108,
};

// The client's name for a request, given back as it came: never swapped, never interpreted. (The kernel puts a counter
// and its tag there, in its own byte order.)
using wire_cookie = packed_int<std::uint64_t, std::endian::native>;

struct request {  // cmd::write is followed by `length` bytes
    be32 magic;
    be16 flags;
    be16 type;
    wire_cookie cookie;
    be64 offset;
    be32 length;
};

struct simple_reply {  // a successful cmd::read is followed by the bytes that were asked for
    be32 magic;
    be32 error;
    wire_cookie cookie;
};

inline simple_reply make_simple_reply(std::uint64_t cookie, error_value error = error_value::none) {
    simple_reply reply;
    reply.magic = simple_reply_magic;
    reply.error = static_cast<std::uint32_t>(error);
    reply.cookie = cookie;
    return reply;
}

inline request make_request(cmd type, std::uint64_t cookie, std::uint64_t offset, std::uint32_t length) {
    request packet;
    packet.magic = request_magic;
    packet.flags = std::uint16_t{0};
    packet.type = static_cast<std::uint16_t>(type);
    packet.cookie = cookie;
    packet.offset = offset;
    packet.length = length;
    return packet;
}

// These structs are the packets themselves: no padding, any address, copied as they lie.
static_assert(sizeof(greeting) == 18 && sizeof(option_header) == 16 && sizeof(option_reply) == 20);
static_assert(sizeof(export_name_reply) == 10 && sizeof(info_export_reply) == 12 &&
              sizeof(info_block_size_reply) == 14);
static_assert(sizeof(request) == 28 && alignof(request) == 1 && std::is_trivially_copyable_v<request>);
static_assert(sizeof(simple_reply) == 16 && alignof(simple_reply) == 1 && std::is_trivially_copyable_v<simple_reply>);
static_assert(offsetof(request, cookie) == 8 && offsetof(request, offset) == 16 && offsetof(request, length) == 24);

}  // namespace nerofs::nbd
