// One pass over a gzip stream that decodes it, checks it, and finds the places where decoding can begin later.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>

#include "base/result.h"

namespace nerofs::codec {

// How far back deflate can refer (RFC 1951).
inline constexpr std::size_t gzip_window_bytes = 32768;

// The start of a deflate block: where decoding can begin when the output before it is known. A view: the window belongs
// to whoever made it.
struct gzip_checkpoint {
    std::uint64_t compressed_offset = 0;     // of the first whole byte
    std::uint64_t decoded_offset = 0;        // of the first byte the block decodes to
    std::uint8_t bits = 0;                   // 0..7: so many high bits of the byte before belong to the block, too
    std::span<const std::byte> window = {};  // the output of the same member before it, at most gzip_window_bytes

    // The first compressed byte that decoding from here needs.
    std::uint64_t first_byte() const { return compressed_offset - (bits != 0 ? 1 : 0); }
};

struct gzip_index_options {
    std::uint64_t max_decoded_bytes = 0;  // more is an error: what the caller is ready to take from this stream
    std::uint64_t span_bytes = std::uint64_t{1}
                               << 20;  // a checkpoint at the first block more than so far from the last
    std::uint64_t max_checkpoints = std::uint64_t{1} << 20;
    // Also one at the start of each member, as zinfo files have it (zinfo.h). Spans needn't: they go on over members.
    bool at_every_member = false;
};

// An error that one of them returns ends the pass and is what push() returns.
struct gzip_index_events {
    // The next decoded bytes; valid during the call.
    std::function<status(std::span<const std::byte>)> decoded;
    // Its window is valid during the call. When it is called, decoded() has had exactly the bytes before
    // decoded_offset: what is hashed between two calls is the span. The first one is at decoded offset 0.
    std::function<status(const gzip_checkpoint&)> checkpoint;
};

struct gzip_totals {
    std::uint64_t compressed_bytes = 0;
    std::uint64_t decoded_bytes = 0;
    std::uint64_t members = 0;
};

// Takes the stream in pieces of any size. Several members, and zeros behind the last, are taken as gzip takes them;
// CRC-32 and length of each member are checked. Memory: some 350 KiB, whatever the stream.
// Errors: corrupt (not gzip, damaged, cut off), permanent (a limit of the options), usage (called after an error).
// Doesn't block; one thread at a time. Throws std::bad_alloc.
class gzip_indexer {
  public:
    gzip_indexer(const gzip_index_options& options, gzip_index_events events);
    gzip_indexer(gzip_indexer&&) noexcept;
    gzip_indexer& operator=(gzip_indexer&&) noexcept;
    ~gzip_indexer();

    // All that the bytes so far decode to has been handed on when it returns. The stream isn't known to be whole and
    // right before finish() has said so: what was handed on until then may be wrong.
    status push(std::span<const std::byte> compressed);
    // After the last piece.
    result<gzip_totals> finish();

  private:
    struct state;
    std::unique_ptr<state> state_;
};

}  // namespace nerofs::codec
