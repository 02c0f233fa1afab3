// A part of a gzip stream decoded, from a checkpoint on.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/result.h"
#include "codec/gzip_index.h"

namespace nerofs::codec {

// The most that can be decoded by one call, and the most compressed bytes it takes.
inline constexpr std::size_t max_gzip_span_bytes = std::size_t{1} << 30;

enum class inflater : std::uint8_t {
    fastest,  // ISA-L where it is compiled in, and zlib when that fails: zlib has the last word on what is damaged
    zlib,
    isal,  // decodes ahead: may report damage that lies behind what was asked for
};

// Whether this build has ISA-L (CMake says so, too).
bool has_isal();

// Fills `out` with what begins at `from`. `compressed` begins at byte from.first_byte() of the stream and has to reach
// as far as `out` needs: up to the next checkpoint's compressed_offset when `out` is the whole span, or to the end of
// the stream. It may be longer. Members that follow are entered; the CRC-32 and length of one that lies in the span as
// a whole are checked. Deflate itself has no checksum: damaged bytes often decode to something, so compare the result's
// digest. Errors: corrupt (damaged, or too few bytes), usage (a window or bits out of range, more than
// max_gzip_span_bytes), unsupported (ISA-L in a build without it). `out` is unspecified after one; nothing beyond it is
// ever written. Doesn't block; any thread. Throws std::bad_alloc.
status decode_gzip_span(const gzip_checkpoint& from, std::span<const std::byte> compressed, std::span<std::byte> out,
                        inflater by = inflater::fastest);

}  // namespace nerofs::codec
