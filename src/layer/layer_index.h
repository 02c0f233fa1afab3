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
inline constexpr std::uint64_t max_toc_chunk_bytes = std::uint64_t{1} << 26;  // of content
inline constexpr std::size_t max_toc_chunks = std::size_t{1} << 20;

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

// A piece of a file that can be decoded by itself, as a layer's own table of contents has them (toc.h): the start of a
// gzip member or zstd frame.
struct toc_chunk {
    std::uint64_t content_offset = 0;
    std::uint64_t length = 0;  // 1 to max_toc_chunk_bytes
    std::uint64_t stored_offset = 0;
    std::uint64_t stored_end = 0;  // decoding it needs no byte from here on; headers of other members may lie before
    codec::sha256_digest digest{};

    bool operator==(const toc_chunk&) const = default;
};

// Bytes of content, from `begin` to before `end`.
struct content_range {
    std::uint64_t begin = 0;
    std::uint64_t end = 0;

    bool operator==(const content_range&) const = default;
};

// A place where decoding can begin, and where the next one is.
struct decoding_place {
    std::uint64_t stored_begin = 0;   // the first stored byte that is needed
    std::uint64_t stored_end = 0;     // none is from here on, up to the next place
    std::uint64_t content_begin = 0;  // of the first byte it decodes to
};

// Its content is the layer's tar, in units of one size. Or, by a table of contents, the files' data alone (toc.h): then
// each chunk is a unit, what lies between them is zeros, and it has no digest as a whole.
struct layer_index {
    compression how = compression::plain;
    codec::sha256_digest stored_digest{};  // of the blob as the registry has it
    std::uint64_t stored_bytes = 0;
    codec::sha256_digest content_digest{};  // of the tar: OCI's diffID; zeros for one by a table of contents
    std::uint64_t content_bytes = 0;
    std::uint32_t unit_bytes = default_unit_bytes;
    std::vector<codec::sha256_digest> units;  // of each unit of content; one for each, or (see fetch) none at all

    // gzip, zstd: the first one is at content offset 0; both offsets ascend. plain: none.
    std::vector<checkpoint> checkpoints;

    // Instead of units and checkpoints; all offsets ascend, and none overlap.
    std::vector<toc_chunk> chunks;

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

    std::size_t unit_count() const;
    // The first one that ends behind this byte of content; unit_count() when there is none.
    std::size_t unit_at(std::uint64_t content_offset) const;
    content_range unit(std::size_t number) const;
    // That part, and the rest of the units that it has bytes of.
    content_range whole_units(content_range part) const;
    // Nothing: it can't be checked.
    const codec::sha256_digest* unit_digest(std::size_t number) const;

    // The last checkpoint that isn't behind this byte of content. There must be one.
    std::size_t checkpoint_before(std::uint64_t content_offset) const;
    // The last place where decoding what has this byte of a unit can begin.
    decoding_place place_before(std::uint64_t content_offset) const;
};

// How a layer is named in errors: "layer sha256:<12 digits>..".
std::string short_name(const codec::sha256_digest& stored_digest);

// A window as a checkpoint keeps it, and back. Errors of the way back: corrupt.
std::vector<std::byte> pack_window(std::span<const std::byte> window);
result<std::vector<std::byte>> unpack_window(std::span<const std::byte> packed);

}  // namespace nerofs::layer
