// zinfo: checkpoints of a gzip stream as erofs-utils (`mkfs.erofs --ungzip --gzinfo=`) and SOCI keep them in a file.
//
//     u32 count, u64 span size, then for each checkpoint: u64 compressed offset, u64 decoded offset, u8 bits, 32 KiB
//     window
//
// Little endian. Version 1 doesn't store the first checkpoint (compressed offset 10, decoded offset 0), but counts it.
// A file has no magic, no length and no digest: that it belongs to a stream shows only when what it leads to is
// compared with a digest.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/result.h"
#include "codec/gzip_index.h"

namespace nerofs::codec {

// 4 GiB of windows: with spans of 4 MiB a layer of 512 GiB.
inline constexpr std::uint32_t max_zinfo_checkpoints = std::uint32_t{1} << 17;
inline constexpr std::uint64_t default_zinfo_span_bytes = std::uint64_t{4} << 20;
inline constexpr std::size_t zinfo_header_bytes = 12;
inline constexpr std::size_t zinfo_checkpoint_bytes = 8 + 8 + 1 + gzip_window_bytes;

// A view of a file's bytes, which have to live as long.
class zinfo {
  public:
    // `compressed_bytes`: the size of the stream it is for. Checks the file's size, that the checkpoints lie in the
    // stream and ascend, and that none claims more than deflate could express. Errors: corrupt. Allocates nothing.
    static result<zinfo> parse(std::span<const std::byte> file, std::uint64_t compressed_bytes);

    int version() const { return version_; }
    std::uint64_t span_bytes() const {
        return span_bytes_;
    }                                            // what the writer aimed at; spans are longer, and may be short
    std::size_t size() const { return count_; }  // at least 1
    // index < size(). Its window is what the file has of the output before it: where a member starts, and where the
    // output was shorter than a window, what stands there doesn't matter.
    gzip_checkpoint at(std::size_t index) const;
    // The last checkpoint that isn't behind this byte of the output.
    std::size_t find(std::uint64_t decoded_offset) const;

  private:
    std::span<const std::byte> entries_;  // the stored ones
    std::uint64_t span_bytes_ = 0;
    std::size_t count_ = 0;
    int version_ = 2;
};

// Writes version 2. The other tools' readers don't go on from one member to the next, so the checkpoints have to be
// those of a gzip_indexer with at_every_member and the same span_bytes. Keeps the whole file in memory.
class zinfo_writer {
  public:
    explicit zinfo_writer(std::uint64_t span_bytes = default_zinfo_span_bytes);

    // In the order of the stream. Errors: usage (it can't follow the one before), permanent (more than a file may
    // have).
    status append(const gzip_checkpoint& checkpoint);
    // The file. Errors: usage (no checkpoint).
    result<std::vector<std::byte>> finish() &&;

  private:
    std::vector<std::byte> file_;
    std::uint32_t count_ = 0;
    std::uint64_t compressed_offset_ = 0;
    std::uint64_t decoded_offset_ = 0;
};

}  // namespace nerofs::codec
