// Data for the tests of gzip, and its compression by zlib: the partner that the code under test is compared with.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/result.h"
#include "codec/gzip_index.h"

namespace nerofs::codec::test {

using bytes = std::vector<std::byte>;

// Words with repetitions near and far; always the same for a seed.
bytes text(std::size_t size, std::uint32_t seed = 1);
// Bytes that can't be compressed.
bytes noise(std::size_t size, std::uint32_t seed = 1);

struct how {
    int level = 6;
    int strategy = 0;          // Z_DEFAULT_STRATEGY
    bool full_header = false;  // with name, comment, extra field and header checksum
};
// One gzip member.
bytes gzip(std::span<const std::byte> plain, how = {});

bytes operator+(bytes a, std::span<const std::byte> b);

struct kept_checkpoint {
    std::uint64_t compressed_offset;
    std::uint64_t decoded_offset;
    std::uint8_t bits;
    bytes window;

    gzip_checkpoint view() const { return {compressed_offset, decoded_offset, bits, window}; }
    bool operator==(const kept_checkpoint&) const = default;
};

struct index {
    bytes decoded;
    std::vector<kept_checkpoint> checkpoints;
    gzip_totals totals;
};
// The whole stream through a gzip_indexer in pieces of so many bytes.
result<index> index_of(std::span<const std::byte> stream, gzip_index_options options, std::size_t piece = SIZE_MAX);
// The options of most tests: no limit that matters.
gzip_index_options spans_of(std::uint64_t span_bytes);

// Memory of exactly this size that ends where no byte may be touched.
class guarded {
  public:
    explicit guarded(std::size_t size);
    explicit guarded(std::span<const std::byte> content);
    guarded(const guarded&) = delete;
    guarded& operator=(const guarded&) = delete;
    ~guarded();
    std::span<std::byte> span() const { return span_; }

  private:
    void* map_;
    std::size_t mapped_;
    std::span<std::byte> span_;
};

}  // namespace nerofs::codec::test
