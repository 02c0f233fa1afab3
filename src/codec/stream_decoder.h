// A gzip, zstd or plain stream decoded from some place on, in pieces of any size: for spans that have no bound, and for
// bytes that are still arriving.
#pragma once

#include <cstddef>
#include <memory>
#include <span>

#include "base/result.h"
#include "codec/gzip_index.h"
#include "codec/gzip_span.h"

namespace nerofs::codec {

// Doesn't block; one thread at a time. Whoever decodes compares digests: see gzip_span.h.
class stream_decoder {
  public:
    struct progress {
        std::size_t taken = 0;  // of `in`
        std::size_t made = 0;   // of `out`
    };

    stream_decoder() = default;
    stream_decoder(const stream_decoder&) = delete;
    stream_decoder& operator=(const stream_decoder&) = delete;
    virtual ~stream_decoder() = default;

    // Goes on until `out` is full or `in` is used up and nothing more comes of it. With an empty `in` there may still
    // be output. Members and frames that follow are entered. Errors: corrupt, unsupported (too large a zstd window);
    // after one, `out` is unspecified and the decoder of no more use. Throws std::bad_alloc.
    virtual result<progress> decode(std::span<const std::byte> in, std::span<std::byte> out) = 0;
};

// The stream's bytes from from.first_byte() on are what it wants. The window is copied. Errors: usage (a checkpoint
// that can't be; ISA-L in a build without it). `fastest` is ISA-L where it is compiled in; on what is damaged ISA-L and
// zlib may differ, and zlib has the last word: try again with it.
result<std::unique_ptr<stream_decoder>> decode_gzip_from(const gzip_checkpoint& from, inflater by = inflater::fastest);

// From the start of a member. Errors: usage (ISA-L in a build without it).
result<std::unique_ptr<stream_decoder>> decode_gzip(inflater by = inflater::fastest);

// From the start of a frame. Takes up to max_zstd_window_bytes of memory.
std::unique_ptr<stream_decoder> decode_zstd();

// Bytes as they are.
std::unique_ptr<stream_decoder> decode_plain();

}  // namespace nerofs::codec
