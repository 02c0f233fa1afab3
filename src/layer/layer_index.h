// What is kept of a layer that was seen once: digests, places where decoding can begin, and its tree as EROFS metadata.
// With it and ranges of the stored blob every byte of the layer's files can be had, checked, without the rest.
// The file: docs/layer-index.md.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "codec/gzip_index.h"
#include "codec/sha256.h"
#include "layer/tree.h"

namespace nerofs::layer {

enum class compression : std::uint8_t { plain = 0, gzip = 1, zstd = 2 };
std::string_view to_string(compression how);

// Content is checked in aligned pieces of so many bytes; the last one may be shorter.
inline constexpr std::uint64_t default_unit_bytes = std::uint64_t{1} << 20;

// What parse() takes at most.
inline constexpr std::uint64_t max_content_bytes = std::uint64_t{1} << 40;  // what an EROFS index has room for
inline constexpr std::uint32_t min_unit_bytes = 1U << 12;
inline constexpr std::uint32_t max_unit_bytes = 1U << 26;
inline constexpr std::uint32_t max_units = 1U << 22;
inline constexpr std::uint32_t max_checkpoints = 1U << 20;
inline constexpr std::uint64_t max_tarindex_bytes = std::uint64_t{1} << 30;
inline constexpr std::uint64_t max_link_bytes = std::uint64_t{1} << 28;

// Where decoding can begin.
struct checkpoint {
    std::uint64_t stored_offset = 0;   // of the first whole byte in the stored blob
    std::uint64_t content_offset = 0;  // of the first byte it decodes to
    std::uint8_t bits = 0;             // gzip: so many high bits of the byte before belong to it, too
    // gzip: the content before it (codec::gzip_window_bytes at most) as one zstd frame; empty: none is needed.
    std::vector<std::byte> window{};

    // The first stored byte that decoding from here needs.
    std::uint64_t first_byte() const { return stored_offset - (bits != 0 ? 1 : 0); }
    bool operator==(const checkpoint&) const = default;
};

struct layer_index {
    compression how = compression::plain;
    codec::sha256_digest stored_digest{};  // of the blob as the registry has it
    std::uint64_t stored_bytes = 0;
    codec::sha256_digest content_digest{};  // of the tar: OCI's diffID
    std::uint64_t content_bytes = 0;
    std::uint32_t unit_bytes = default_unit_bytes;
    std::vector<codec::sha256_digest> units;  // of each unit of content; one for each, or (see fetch) none at all

    // gzip, zstd: the first one is at content offset 0; both offsets ascend. plain: none.
    std::vector<checkpoint> checkpoints;

    // An EROFS image of metadata (erofs::write_index) whose one device is the content. Whiteouts are character devices
    // 0/0, the attributes of marked_tree.h tell the rest.
    std::vector<std::byte> tarindex;
    // Hard links to what isn't in this layer, in the order of the archive; paths as the archive has them.
    std::vector<tree::unresolved_link> unresolved;

    // Of the file that it was parsed from, of all before it; zeros otherwise.
    codec::sha256_digest file_digest{};

    // The file. Errors: usage (what parse() would refuse).
    result<std::vector<std::byte>> encode() const;
    // Checks all of it, the digest at its end first. Errors: corrupt, unsupported (another version). Allocates no more
    // than the file's size and `most_tarindex_bytes`.
    static result<layer_index> parse(std::span<const std::byte> file,
                                     std::uint64_t most_tarindex_bytes = max_tarindex_bytes);

    // The last checkpoint that isn't behind this byte of content. There must be one.
    std::size_t checkpoint_before(std::uint64_t content_offset) const;
    std::uint64_t unit_count() const { return (content_bytes + unit_bytes - 1) / unit_bytes; }
};

// How a layer is named in errors: "layer sha256:<12 digits>..".
std::string short_name(const codec::sha256_digest& stored_digest);

// A window as a checkpoint keeps it, and back. Errors of the way back: corrupt.
std::vector<std::byte> pack_window(std::span<const std::byte> window);
result<std::vector<std::byte>> unpack_window(std::span<const std::byte> packed);

}  // namespace nerofs::layer
