// zstd streams of several frames: where the frames are, and one frame decoded. A frame is the smallest part of a zstd
// stream that can be decoded alone; a stream that is one frame has no random access.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "base/result.h"

namespace nerofs::codec {

// A frame that needs more history than this isn't taken: as much memory as that is used to go over it.
inline constexpr std::size_t max_zstd_window_bytes = std::size_t{128} << 20;
// The most that is decoded by one call of decode_zstd_frame().
inline constexpr std::size_t max_zstd_frame_bytes = std::size_t{1} << 30;
inline constexpr std::uint32_t max_zstd_seek_frames = std::uint32_t{1} << 20;

// A frame that decodes to something.
struct zstd_frame {
    std::uint64_t compressed_offset = 0;
    std::uint64_t compressed_bytes = 0;
    std::uint64_t decoded_offset = 0;
    std::uint64_t decoded_bytes = 0;

    bool operator==(const zstd_frame&) const = default;
};

struct zstd_index_options {
    std::uint64_t max_decoded_bytes = 0;  // more is an error: what the caller is ready to take from this stream
    std::uint64_t max_frames = max_zstd_seek_frames;
};

// An error that one of them returns ends the pass and is what push() returns.
struct zstd_index_events {
    // The next decoded bytes; valid during the call.
    std::function<status(std::span<const std::byte>)> decoded;
    // A frame has ended; decoded() has had exactly the bytes up to its end. Skippable and empty frames aren't told.
    std::function<status(const zstd_frame&)> frame;
};

struct zstd_totals {
    std::uint64_t compressed_bytes = 0;
    std::uint64_t decoded_bytes = 0;
    std::uint64_t frames = 0;  // those that were told
};

// One pass over a zstd stream, in pieces of any size. Checksums are checked where frames have them. Frames of the
// formats before zstd 0.8 aren't taken. Errors: corrupt (not zstd, damaged, cut off), permanent (a limit of the
// options), unsupported (too large a window), usage (called after an error). Doesn't block; one thread at a time.
// Throws std::bad_alloc.
class zstd_indexer {
  public:
    zstd_indexer(const zstd_index_options& options, zstd_index_events events);
    zstd_indexer(zstd_indexer&&) noexcept;
    zstd_indexer& operator=(zstd_indexer&&) noexcept;
    ~zstd_indexer();

    // All that the bytes so far decode to has been handed on when it returns.
    status push(std::span<const std::byte> compressed);
    // After the last piece.
    result<zstd_totals> finish();

  private:
    struct state;
    std::unique_ptr<state> state_;
};

// Fills `out` with what the one frame that `compressed` is decodes to. Errors: corrupt (damaged, not one frame, or not
// of out.size() bytes), usage (more than max_zstd_frame_bytes). `out` is unspecified after one. Doesn't block; any
// thread.
status decode_zstd_frame(std::span<const std::byte> compressed, std::span<std::byte> out);

// The seek table at the end of a stream in zstd's seekable format, so that nothing else has to be read to know its
// frames.
inline constexpr std::size_t zstd_seek_footer_bytes = 9;
// How many bytes at the end of the stream the table takes, from the last zstd_seek_footer_bytes of it; nullopt when
// there is none, or one of more than max_zstd_seek_frames.
std::optional<std::size_t> zstd_seek_table_bytes(std::span<const std::byte> footer);
// The frames, from that table: the whole of it and nothing else. The table must account for every byte of a stream of
// `compressed_bytes`. Whether it is true shows when the frames are decoded. Errors: corrupt.
result<std::vector<zstd_frame>> parse_zstd_seek_table(std::span<const std::byte> table, std::uint64_t compressed_bytes);

}  // namespace nerofs::codec
