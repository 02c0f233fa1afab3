// Turns misses into few large range requests. Pure: no I/O, no clock, no thread of its own.
//
// The bytes that nobody asked for are paid from an account, so that their sum is bounded whatever the access pattern:
//     fetched <= (1 + generosity_around + generosity_ahead) * asked + 2 * opening_allowance
//             + 4 * the longest sequential read under way
// in chunks, where a unit is a chunk. Asking for more opens the account further; reading what was fetched ahead pays it
// back. docs/cache.md has the figures.
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <optional>
#include <vector>

#include "cache/chunk_table.h"
#include "cache/link_model.h"
#include "cache/presence/geometry.h"
#include "cache/streams.h"

namespace nerofs::cache {

enum class priority : std::uint8_t {
    demand,      // somebody waits for it
    readahead,   // somebody will ask for it soon
    background,  // nice to have
};

// Bounds within which it adapts; bytes are multiples of the chunk where that matters.
struct planner_limits {
    unsigned max_in_flight = 8;    // requests of all kinds
    unsigned max_speculative = 6;  // of these, not for demand: a miss finds a free connection
    unsigned max_background = 2;
    std::uint64_t min_request_bytes = 512 * 1024;  // of a long run that is cut into requests
    std::uint64_t max_request_bytes = 8u << 20;
    std::chrono::milliseconds request_time{
        250};                                   // a cut request shouldn't take longer than that, nor than 8 round trips
    std::uint64_t min_block_bytes = 64 * 1024;  // what a lone miss is rounded to, by the link
    std::uint64_t max_block_bytes = 512 * 1024;
    // The chunks that cost nothing more when these are fetched; all of these are among them. None: there aren't any.
    std::function<chunk_range(chunk_range)> fetched_together{};
    std::uint64_t max_dense_bytes = 2u << 20;    // what a miss in a half-full neighbourhood is rounded to
    std::uint64_t max_window_bytes = 64u << 20;  // how far a stream is run ahead of
    std::uint64_t opening_allowance = 3u << 20;  // each for what lies around misses and ahead of streams
    double generosity_around = 0.6;              // chunks for each chunk asked for
    double generosity_ahead = 0.1;
    // All that is missing is fetched at once (a rush), when the link brings it in that time or so many round trips.
    bool rush = false;
    std::chrono::milliseconds rush_time{500};
    unsigned rush_round_trips = 4;
    std::uint64_t max_rush_bytes = 512u << 20;      // of a blob that is ever rushed for
    bool sees_hits = false;                         // hit() is called for what the cache answers
    std::uint64_t background_bytes_per_second = 0;  // 0: no limit
};

struct planned_request {
    std::uint64_t id = 0;
    chunk_range chunks;  // claimed; to be fetched and filled in this order
    priority level = priority::demand;
};

// One blob. One thread at a time. The table and the link must outlive it.
class planner {
  public:
    planner(std::uint64_t blob_bytes, chunk_table& table, link_model& link, planner_limits limits = {});

    // Bytes are wanted. A demand for what is on its way isn't asked for again, but says how far its reader is. Ranges
    // outside the blob are cut off.
    void miss(std::uint64_t offset, std::uint64_t length, priority level, plan_time now);
    // A read that the cache answered (touch_map tells). Without these only what waits is seen: streams are run ahead of
    // later, and the account opens more slowly.
    void hit(std::uint64_t offset, std::uint64_t length, plan_time now);
    // Nobody waits any more (deadline, error told): the range isn't asked for again.
    void forget(std::uint64_t offset, std::uint64_t length);

    // Bytes of a request's body came; the first call says that its answer began.
    void arrived(std::uint64_t id, std::uint64_t bytes, plan_time now);
    // A request is over, well or not. What it didn't bring, and somebody still waits for, is planned again: the caller
    // has given back its claims and decides about pauses between tries by when it calls next().
    void finished(std::uint64_t id, plan_time now);

    // Requests to be cancelled, since the link is slower than it seemed; each is told once. Call it after arrived().
    // They are under way until finished().
    std::vector<std::uint64_t> called_off();

    // The requests to be sent now. Call it after any of the above (once for a batch of them), when the cache's
    // generation changed while waiting_for_others(), and at wake_at().
    std::vector<planned_request> next(plan_time now);
    // When time alone makes something due.
    std::optional<plan_time> wake_at(plan_time now) const;
    // Demanded chunks are being fetched by other processes.
    bool waiting_for_others() const { return waiting_for_others_; }

    unsigned in_flight() const { return static_cast<unsigned>(flights_.size()); }
    std::uint64_t requests() const { return next_id_ - 1; }
    std::uint64_t requested_bytes() const { return requested_bytes_; }

  private:
    struct flight {
        std::uint64_t id = 0;
        chunk_range chunks;
        priority level = priority::demand;
        link_model::request sent;
        std::uint64_t came = 0;
        bool rush = false;
    };
    using queue = std::deque<chunk_range>;

    chunk_range clip(std::uint64_t offset, std::uint64_t length) const;
    bool flying(std::uint64_t chunk) const;
    bool open(std::uint64_t chunk) const { return !flying(chunk) && table_->available(chunk); }
    bool busy() const;
    std::uint64_t cut_chunks() const;
    std::uint64_t block_chunks() const;
    std::uint64_t window_chunks(const stream& s) const;
    std::uint64_t credit(const stream& s) const;
    // Chunks nobody asked for, by what they were fetched with: a miss close by, or a stream's run ahead. Two purses, so
    // that neither starves the other.
    struct purse {
        std::vector<bool> chunks;
        std::uint64_t idle = 0;  // fetched, and not asked for until now
    };
    std::int64_t allowance(const purse& p, double generosity) const;
    void touch(chunk_range range);
    void pay(purse& p, chunk_range range);
    std::uint64_t speculative_in_flight(priority level) const;

    void drop_done(queue& wanted);
    std::optional<chunk_range> first_open(const queue& wanted, bool& others) const;
    chunk_range widen(chunk_range run) const;
    chunk_range grow(chunk_range run, chunk_range most) const;
    chunk_range join_neighbours(chunk_range run) const;
    std::optional<planned_request> plan_demand(plan_time now);
    std::optional<planned_request> plan_queue(queue& wanted, priority level, std::uint64_t most, plan_time now);
    std::optional<planned_request> plan_stream(plan_time now);
    std::optional<planned_request> plan_rush(plan_time now);
    std::optional<planned_request> plan_background(plan_time now);
    std::optional<planned_request> take(chunk_range run, chunk_range wide, priority level, plan_time now);
    std::uint64_t rush_bytes() const;
    void judge_rush(plan_time now);
    void refill(plan_time now);
    plan_time quiet_at() const;

    std::uint64_t blob_bytes_;
    chunk_table* table_;
    link_model* link_;
    planner_limits limits_;

    queue demand_;
    queue readahead_;
    queue background_;
    std::vector<flight> flights_;
    stream_table streams_;
    std::uint64_t next_id_ = 1;
    std::uint64_t requested_bytes_ = 0;
    // The account, in chunks.
    std::vector<bool> touched_;
    std::uint64_t asked_chunks_ = 0;
    purse around_;
    purse ahead_;
    bool waiting_for_others_ = false;
    std::uint64_t missing_bytes_ = 0;  // at most: what others fetched meanwhile is in it
    std::uint64_t rush_at_ = 0;        // chunks before it aren't open, or are somebody's business
    bool rushing_ = false;
    std::optional<link_model::mark> rush_began_;  // the first byte of it
    std::vector<std::uint64_t> called_off_;
    plan_time last_demand_{};
    plan_time refilled_{};
    double background_tokens_ = 0;
};

}  // namespace nerofs::cache
