// Recognises readers that go through a blob from front to back, several at once, among those that don't. Pure.
//
// Where only misses are seen, a reader that went through what was fetched ahead shows again where that ends, and is
// known by this: everything between its last place and the new one is there. For a random read that is seldom so.
#pragma once

#include <array>
#include <cstdint>

#include "cache/chunk_table.h"
#include "cache/link_model.h"
#include "cache/presence/geometry.h"

namespace nerofs::cache {

inline constexpr std::size_t max_streams = 16;
// Two reads this close to each other are still one stream: readers that skip a little, requests that overtake another.
inline constexpr std::uint64_t stream_slack_chunks = 8;

struct stream {
    std::uint64_t next = 0;      // the chunk after the last one read
    std::uint64_t ahead = 0;     // the chunk after the last one asked for on its behalf
    std::uint64_t progress = 0;  // chunks it has gone forward
    std::uint32_t steps = 0;     // reads that belonged to it
    plan_time last{};

    bool sequential() const { return steps >= 2; }
};

class stream_table {
  public:
    // `sees_hits`: observe_hit is called for reads that were answered from what is there.
    explicit stream_table(bool sees_hits) : sees_hits_(sees_hits) {}

    // A read of these chunks. Finds its stream or begins one, in place of the one that stood still for the longest.
    // Returns the chunks before it that its reader must have read, unseen.
    chunk_range observe(chunk_range range, const chunk_table& table, plan_time now);
    // The same for a read that was answered from what is there: only goes on with streams that exist.
    void observe_hit(chunk_range range, const chunk_table& table, plan_time now);

    auto begin() { return streams_.begin(); }
    auto end() { return streams_.end(); }

  private:
    stream* find(chunk_range range, const chunk_table& table);
    static chunk_range advance(stream& s, chunk_range range, bool sees_hits, plan_time now);

    bool sees_hits_;
    std::array<stream, max_streams> streams_{};
};

}  // namespace nerofs::cache
