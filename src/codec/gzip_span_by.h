// The two ways of decoding a span, for gzip_span.cpp alone: use gzip_span.h.
#pragma once

#include <string>

#include "codec/gzip_span.h"

namespace nerofs::codec::detail {

// The arguments have been checked.
status decode_by_zlib(const gzip_checkpoint& from, std::span<const std::byte> compressed, std::span<std::byte> out);
status decode_by_isal(const gzip_checkpoint& from, std::span<const std::byte> compressed, std::span<std::byte> out);

// CRC-32 and length behind a member.
inline constexpr std::size_t gzip_trailer_bytes = 8;

inline tl::unexpected<error> corrupt_span(const gzip_checkpoint& from, const std::string& why) {
    return fail(error_kind::corrupt, "gzip span at byte " + std::to_string(from.first_byte()) + ": " + why);
}

}  // namespace nerofs::codec::detail
