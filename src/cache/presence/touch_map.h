// Which chunks the server has answered reads of: one bit each in memory that server and fetcher share. It tells the
// planner of hits, which otherwise nobody would, and costs the server a load for each chunk that was read before.
#pragma once

#include <atomic>
#include <bit>
#include <cstdint>
#include <utility>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"
#include "cache/presence/geometry.h"
#include "os/shared_memory.h"

namespace nerofs::cache {

class touch_map {
  public:
    // A sealed memfd for a blob of that size; kept by the keeper, mapped by both.
    static result<unique_fd> make(std::uint64_t blob_bytes) {
        return os::make_memfd("nerofs-touched", bitmap_words(blob_bytes) * sizeof(std::uint64_t));
    }
    // Kind corrupt when the file isn't of that blob's size.
    static result<touch_map> map(fd_ref file, std::uint64_t blob_bytes, bool writable) {
        const std::uint64_t bytes = bitmap_words(blob_bytes) * sizeof(std::uint64_t);
        NEROFS_TRY(const std::uint64_t size, os::file_size(file));
        if (size != bytes || bytes == 0) return fail(error_kind::corrupt, "touch map: wrong size");
        touch_map m;
        NEROFS_TRY(m.memory_, os::mapping::map(file, bytes, writable));
        m.words_ = static_cast<std::atomic<std::uint64_t>*>(m.memory_.data());
        m.chunks_ = chunk_count(blob_bytes);
        m.known_.resize(bitmap_words(blob_bytes));
        return m;
    }

    // The server: a read of these chunks was answered. Any thread.
    void mark(chunk_range range) const {
        for (std::uint64_t chunk = range.first; chunk < range.end && chunk < chunks_; ++chunk) {
            const std::uint64_t bit = std::uint64_t{1} << (chunk % 64);
            std::atomic<std::uint64_t>& word = words_[chunk / 64];
            if ((word.load(std::memory_order_relaxed) & bit) == 0) word.fetch_or(bit, std::memory_order_relaxed);
        }
    }

    // The fetcher: calls `visit(chunk_range)` for each run of chunks marked since the last call. One thread.
    template <class Visit>
    void take_new(Visit&& visit) {
        chunk_range run;
        for (std::uint64_t i = 0; i < known_.size(); ++i) {
            const std::uint64_t now = words_[i].load(std::memory_order_relaxed);
            for (std::uint64_t fresh = now & ~known_[i]; fresh != 0; fresh &= fresh - 1) {
                const std::uint64_t chunk = i * 64 + static_cast<std::uint64_t>(std::countr_zero(fresh));
                if (chunk >= chunks_) break;
                if (run.end != chunk || run.empty()) {
                    if (!run.empty()) visit(run);
                    run = {chunk, chunk};
                }
                run.end = chunk + 1;
            }
            known_[i] = now;
        }
        if (!run.empty()) visit(run);
    }

  private:
    os::mapping memory_;
    std::atomic<std::uint64_t>* words_ = nullptr;
    std::uint64_t chunks_ = 0;
    std::vector<std::uint64_t> known_;
};

}  // namespace nerofs::cache
