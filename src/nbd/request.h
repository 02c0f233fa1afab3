// What a server does with one request header: the whole policy of a read-only export as one pure function.
#pragma once

#include <cstdint>

#include "nbd/protocol.h"

namespace nerofs::nbd {

// The largest read that is answered and the largest write whose payload is thrown away to stay in step. 32 MiB is the
// protocol's default maximum (doc/proto.md, "Block size constraints"), and as much as max_sectors_kb can be set to.
inline constexpr std::uint32_t max_request_bytes = 32u << 20;

struct export_limits {
    std::uint64_t size = 0;                               // bytes in the export
    std::uint32_t max_length = max_request_bytes;         // longest read, in bytes
    std::uint32_t max_payload_bytes = max_request_bytes;  // longest payload of a refused write that is skipped
};

enum class action : std::uint8_t {
    answer_read,   // success: a reply, then request.length bytes from request.offset, all inside the export
    answer_error,  // one reply with verdict.error and no data
    disconnect,    // the client says goodbye: no reply; answer what is in flight, then close
    drop,          // the stream can't be followed any longer: close at once, without a reply
};

struct verdict {
    action what = action::drop;
    error_value error = error_value::none;  // answer_error only
    std::uint32_t discard_bytes = 0;        // payload that follows the header and has to be read and thrown away first

    friend bool operator==(const verdict&, const verdict&) = default;
};

// Judges a header as it came from the wire. Never fails, doesn't block, trusts nothing in the header.
verdict classify(const request& header, const export_limits& limits);

}  // namespace nerofs::nbd
