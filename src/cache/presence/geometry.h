// The unit of caching: a blob is a row of chunks, each of which is there or not.
#pragma once

#include <cstdint>

namespace nerofs::cache {

// Small enough that a random 4 KiB read doesn't drag in much that nobody asked for; at 32 KiB the maps of an 8 GB blob
// are 32 KiB of bits and 512 KiB of claims. How much is fetched at once is the planner's business, not the chunk's.
inline constexpr unsigned chunk_shift = 15;
inline constexpr std::uint64_t chunk_bytes = std::uint64_t{1} << chunk_shift;

// Larger blobs aren't cached: their maps would no longer be small (64 MiB of claims).
inline constexpr std::uint64_t max_blob_bytes = std::uint64_t{1} << 40;

// Chunks [first, end) of a blob.
struct chunk_range {
    std::uint64_t first = 0;
    std::uint64_t end = 0;

    constexpr std::uint64_t count() const { return end - first; }
    constexpr bool empty() const { return end <= first; }
    constexpr bool contains(std::uint64_t chunk) const { return chunk >= first && chunk < end; }
    friend constexpr bool operator==(const chunk_range&, const chunk_range&) = default;
};

constexpr std::uint64_t chunk_count(std::uint64_t blob_bytes) {
    return (blob_bytes >> chunk_shift) + ((blob_bytes & (chunk_bytes - 1)) != 0 ? 1 : 0);
}

// The chunks that [offset, offset + length) touches. The sum must not overflow.
constexpr chunk_range chunks_of(std::uint64_t offset, std::uint64_t length) {
    if (length == 0) return {offset >> chunk_shift, offset >> chunk_shift};
    return {offset >> chunk_shift, ((offset + length - 1) >> chunk_shift) + 1};
}

// The chunks that have nothing but bytes of [begin, end); none: the range is empty(). A blob's last chunk may be short.
constexpr chunk_range chunks_within(std::uint64_t begin, std::uint64_t end, std::uint64_t blob_bytes) {
    return {(begin + chunk_bytes - 1) >> chunk_shift, end == blob_bytes ? chunk_count(end) : end >> chunk_shift};
}

// Words of 64 bits for a bitmap with one bit per chunk.
constexpr std::uint64_t bitmap_words(std::uint64_t blob_bytes) {
    return (chunk_count(blob_bytes) + 63) / 64;
}

constexpr std::uint64_t round_up(std::uint64_t value, std::uint64_t to) {
    return (value + to - 1) / to * to;
}

}  // namespace nerofs::cache
