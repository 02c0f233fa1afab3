// The two ways of decoding, for gzip_span.cpp and gzip_stream.cpp alone: use gzip_span.h, stream_decoder.h.
#pragma once

#include <memory>
#include <string>

#include "codec/gzip_span.h"
#include "codec/stream_decoder.h"

namespace nerofs::codec::detail {

// The arguments have been checked.
status decode_by_zlib(const gzip_checkpoint& from, std::span<const std::byte> compressed, std::span<std::byte> out);
status decode_by_isal(const gzip_checkpoint& from, std::span<const std::byte> compressed, std::span<std::byte> out);

std::unique_ptr<stream_decoder> isal_stream(const gzip_checkpoint& from);

inline bool possible(const gzip_checkpoint& from) {
    return from.bits <= 7 && from.window.size() <= gzip_window_bytes && (from.bits == 0 || from.compressed_offset != 0);
}

// CRC-32 and length behind a member.
inline constexpr std::size_t gzip_trailer_bytes = 8;

inline tl::unexpected<error> corrupt_span(const gzip_checkpoint& from, const std::string& why) {
    return fail(error_kind::corrupt, "gzip span at byte " + std::to_string(from.first_byte()) + ": " + why);
}

}  // namespace nerofs::codec::detail
