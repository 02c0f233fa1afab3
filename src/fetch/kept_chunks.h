// What the cache has of a layer's content from earlier: looked at before it is used, as disks and people change bytes.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include "cache/writer.h"
#include "cache/writer_chunks.h"
#include "layer/layer_index.h"

namespace nerofs::fetch {

// Chunks of the cache that are on disk and not there for readers yet (cache::kept_bytes::to_be_checked). Any thread.
class kept_chunks {
  public:
    // The writer must outlive it. The index: with digests of units.
    kept_chunks(const cache::blob_writer& writer, std::shared_ptr<const layer::layer_index> layer);

    bool has(std::uint64_t chunk) const {
        return (bits_[chunk / 64].load(std::memory_order_relaxed) >> (chunk % 64) & 1) != 0;
    }
    std::uint64_t bytes() const { return left_.load(std::memory_order_relaxed) * cache::chunk_bytes; }

    // Reads and hashes the units that these bytes belong to. What is right is there for everybody then; what isn't, or
    // isn't there as a whole, is kept no longer, and has to be fetched. Blocks for the disk, some ms for each unit.
    void look_at(std::uint64_t offset, std::uint64_t length);

  private:
    bool on_disk(cache::chunk_range chunks) const;
    bool is_right(std::size_t unit) const;
    bool has_zeros(layer::content_range part) const;
    void take_out(cache::chunk_range chunks, bool right);

    const cache::blob_writer& writer_;
    const std::shared_ptr<const layer::layer_index> layer_;
    std::vector<std::atomic<std::uint64_t>> bits_;
    std::atomic<std::uint64_t> left_{0};
};

// A writer's chunks as the planner sees them: what is kept needn't be fetched.
class unfetched_chunks final : public cache::writer_chunks {
  public:
    unfetched_chunks(const cache::blob_writer& writer, const kept_chunks* kept)
        : cache::writer_chunks(writer), kept_(kept) {}

    bool present(std::uint64_t chunk) const override { return writer_chunks::present(chunk) || is_kept(chunk); }
    bool available(std::uint64_t chunk) const override { return !is_kept(chunk) && writer_chunks::available(chunk); }

  private:
    bool is_kept(std::uint64_t chunk) const { return kept_ != nullptr && kept_->has(chunk); }

    const kept_chunks* kept_;
};

}  // namespace nerofs::fetch
