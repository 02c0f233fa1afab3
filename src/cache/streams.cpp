#include "cache/streams.h"

#include <algorithm>

namespace nerofs::cache {

// The stream whose expectation the range meets, the nearest when there are several.
stream* stream_table::find(chunk_range range, const chunk_table& table) {
    stream* best = nullptr;
    std::uint64_t best_distance = 0;
    for (stream& s : streams_) {
        if (s.steps == 0) continue;
        const std::uint64_t farthest = (sees_hits_ ? s.next : std::max(s.next, s.ahead)) + stream_slack_chunks;
        const std::uint64_t nearest = s.next - std::min(s.next, stream_slack_chunks);
        if (range.first > farthest || range.end < nearest) continue;
        bool read_through = true;
        for (std::uint64_t chunk = s.next; read_through && chunk + stream_slack_chunks < range.first; ++chunk)
            read_through = table.present(chunk);
        if (!read_through) continue;
        const std::uint64_t distance = range.first > s.next ? range.first - s.next : s.next - range.first;
        if (!best || distance < best_distance) {
            best = &s;
            best_distance = distance;
        }
    }
    return best;
}

chunk_range stream_table::advance(stream& s, chunk_range range, bool sees_hits, plan_time now) {
    s.last = now;
    if (range.end <= s.next) return {};  // a second look at the same place
    const chunk_range unseen{s.next, std::max(s.next, range.first)};
    // What is skipped speaks against it.
    if (sees_hits && range.first > s.next + 1) s.progress /= 2;
    s.progress += range.end - std::max(range.first, s.next);
    s.next = range.end;
    s.ahead = std::max(s.ahead, s.next);
    ++s.steps;
    return unseen;
}

chunk_range stream_table::observe(chunk_range range, const chunk_table& table, plan_time now) {
    if (stream* s = find(range, table)) {
        const chunk_range unseen = advance(*s, range, sees_hits_, now);
        return sees_hits_ ? chunk_range{} : unseen;
    }
    stream& oldest = *std::min_element(streams_.begin(), streams_.end(), [](const stream& a, const stream& b) {
        return std::pair(a.steps != 0, a.last) < std::pair(b.steps != 0, b.last);
    });
    oldest = {range.end, range.end, range.count(), 1, now};
    return {};
}

void stream_table::observe_hit(chunk_range range, const chunk_table& table, plan_time now) {
    if (stream* s = find(range, table)) advance(*s, range, sees_hits_, now);
}

}  // namespace nerofs::cache
