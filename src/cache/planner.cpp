#include "cache/planner.h"

#include <algorithm>
#include <bit>
#include <utility>

namespace nerofs::cache {
namespace {

using namespace std::chrono_literals;

// Chunks that are cheaper to fetch than another request for what lies behind them, at most.
constexpr std::uint64_t max_gap_bytes = 256 * 1024;
// The farther a stream has gone, the farther it is run ahead of.
constexpr std::uint64_t promising_bytes = 256 * 1024;
constexpr std::uint64_t likely_bytes = 512 * 1024;
constexpr std::uint64_t proven_bytes = 1u << 20;
constexpr std::uint64_t certain_bytes = 2u << 20;
constexpr std::uint64_t likely_growth = 4;
constexpr std::uint64_t proven_growth = 16;

// A rush comes in pieces of half of what the link brings in a round trip: with six under way it is busy all the time,
// and who needs the end of one doesn't wait for long.
constexpr std::uint64_t min_rush_piece = 1u << 20;
// After so long, a rush that would take more than twice the time it may take is called off.
constexpr auto rush_proof = 100ms;

constexpr std::uint64_t to_chunks(std::uint64_t bytes) {
    return std::max<std::uint64_t>(1, bytes >> chunk_shift);
}

}  // namespace

planner::planner(std::uint64_t blob_bytes, chunk_table& table, link_model& link, planner_limits limits)
    : blob_bytes_(blob_bytes),
      table_(&table),
      link_(&link),
      limits_(limits),
      streams_(limits.sees_hits),
      touched_(chunk_count(blob_bytes)),
      around_{std::vector<bool>(chunk_count(blob_bytes)), 0},
      ahead_{std::vector<bool>(chunk_count(blob_bytes)), 0} {
    limits_.rush = limits.rush && blob_bytes <= limits.max_rush_bytes;
    if (!limits_.rush) return;
    for (std::uint64_t chunk = 0; chunk < chunk_count(blob_bytes); ++chunk)
        if (!table.present(chunk)) missing_bytes_ += chunk_bytes;
}

chunk_range planner::clip(std::uint64_t offset, std::uint64_t length) const {
    if (offset >= blob_bytes_) return {};
    return chunks_of(offset, std::min(length, blob_bytes_ - offset));
}

bool planner::flying(std::uint64_t chunk) const {
    return std::any_of(flights_.begin(), flights_.end(), [=](const flight& f) { return f.chunks.contains(chunk); });
}

// How long a run may be before it is cut into several requests: as long as the link brings in request_time (or in a
// few round trips, where these are longer) on one of four connections.
std::uint64_t planner::cut_chunks() const {
    const auto time = std::max<std::chrono::nanoseconds>(limits_.request_time, link_->latency() * 8);
    return to_chunks(std::clamp(link_->bytes_in(time) / 4, limits_.min_request_bytes, limits_.max_request_bytes));
}

// So much is on its way that every further byte delays somebody.
bool planner::busy() const {
    return flights_.size() > limits_.max_speculative / 2;
}

// What a lone miss is rounded to: a part of what could come on its connection during the round trip that is paid
// anyway.
std::uint64_t planner::block_chunks() const {
    const std::uint64_t least = link_->latency() > 2ms ? limits_.min_block_bytes * 2 : limits_.min_block_bytes;
    return std::bit_floor(to_chunks(
        std::clamp(link_->bytes_per_round_trip() / (busy() ? 8 : 2), least, std::max(least, limits_.max_block_bytes))));
}

std::int64_t planner::allowance(const purse& p, double generosity) const {
    return static_cast<std::int64_t>(generosity * static_cast<double>(asked_chunks_)) +
           static_cast<std::int64_t>(limits_.opening_allowance >> chunk_shift) - static_cast<std::int64_t>(p.idle);
}

void planner::touch(chunk_range range) {
    for (std::uint64_t chunk = range.first; chunk < range.end; ++chunk) {
        if (touched_[chunk]) continue;
        touched_[chunk] = true;
        ++asked_chunks_;
        if (around_.chunks[chunk]) --around_.idle;
        if (ahead_.chunks[chunk]) --ahead_.idle;
    }
}

void planner::pay(purse& p, chunk_range range) {
    for (std::uint64_t chunk = range.first; chunk < range.end; ++chunk) {
        if (touched_[chunk] || around_.chunks[chunk] || ahead_.chunks[chunk]) continue;
        p.chunks[chunk] = true;
        ++p.idle;
    }
}

std::uint64_t planner::speculative_in_flight(priority level) const {
    return static_cast<std::uint64_t>(
        std::count_if(flights_.begin(), flights_.end(), [=](const flight& f) { return f.level >= level; }));
}

void planner::miss(std::uint64_t offset, std::uint64_t length, priority level, plan_time now) {
    const chunk_range range = clip(offset, length);
    if (range.empty()) return;
    if (level != priority::demand) {
        (level == priority::readahead ? readahead_ : background_).push_back(range);
        return;
    }
    last_demand_ = now;
    touch(streams_.observe(range, *table_, now));
    touch(range);
    // What is in the queue already isn't asked for twice.
    const bool again = std::any_of(demand_.begin(), demand_.end(),
                                   [&](const chunk_range& d) { return d.first <= range.first && d.end >= range.end; });
    if (again) return;
    demand_.push_back(range);
}

void planner::hit(std::uint64_t offset, std::uint64_t length, plan_time now) {
    const chunk_range range = clip(offset, length);
    if (range.empty()) return;
    streams_.observe_hit(range, *table_, now);
    touch(range);
}

void planner::forget(std::uint64_t offset, std::uint64_t length) {
    const chunk_range gone = clip(offset, length);
    queue rest;
    for (const chunk_range& d : demand_) {
        if (gone.end <= d.first || gone.first >= d.end) {
            rest.push_back(d);
            continue;
        }
        if (d.first < gone.first) rest.push_back({d.first, gone.first});
        if (d.end > gone.end) rest.push_back({gone.end, d.end});
    }
    demand_ = std::move(rest);
}

void planner::arrived(std::uint64_t id, std::uint64_t bytes, plan_time now) {
    const auto f = std::find_if(flights_.begin(), flights_.end(), [=](const flight& one) { return one.id == id; });
    if (f == flights_.end()) return;
    link_->arrived(f->sent, bytes, now);
    f->came += bytes;
    if (f->rush && !rush_began_) rush_began_ = f->sent.first;
    if (rushing_) judge_rush(now);
}

void planner::finished(std::uint64_t id, plan_time now) {
    const auto f = std::find_if(flights_.begin(), flights_.end(), [=](const flight& one) { return one.id == id; });
    if (f == flights_.end()) return;
    link_->finished(f->sent, f->came, now);
    missing_bytes_ -= std::min(missing_bytes_, f->came);
    // What failed in a rush isn't worth another: it is asked for again when somebody waits.
    if (f->rush && f->came < std::min(f->chunks.end << chunk_shift, blob_bytes_) - (f->chunks.first << chunk_shift))
        limits_.rush = rushing_ = false;
    flights_.erase(f);
}

// Entries all of whose chunks are there are done.
void planner::drop_done(queue& wanted) {
    std::erase_if(wanted, [this](chunk_range& range) {
        while (!range.empty() && table_->present(range.first)) ++range.first;
        while (!range.empty() && table_->present(range.end - 1)) --range.end;
        return range.empty();
    });
}

// The first run of chunks that can be asked for; `others` when some are with somebody else.
std::optional<chunk_range> planner::first_open(const queue& wanted, bool& others) const {
    for (const chunk_range& range : wanted) {
        for (std::uint64_t chunk = range.first; chunk < range.end; ++chunk) {
            if (flying(chunk) || table_->present(chunk)) continue;
            if (!table_->available(chunk)) {
                others = true;
                continue;
            }
            std::uint64_t end = chunk + 1;
            while (end < range.end && open(end)) ++end;
            return chunk_range{chunk, end};
        }
    }
    return std::nullopt;
}

// The run and its open neighbours, inside of `most`.
chunk_range planner::grow(chunk_range run, chunk_range most) const {
    while (run.end < most.end && open(run.end)) ++run.end;
    while (run.first > most.first && open(run.first - 1)) --run.first;
    return run;
}

// Runs that others wait for and that are only a small gap away come in the same request.
chunk_range planner::join_neighbours(chunk_range run) const {
    const std::uint64_t gap = std::min(link_->bytes_per_round_trip() / 8, max_gap_bytes) >> chunk_shift;
    for (bool grown = true; grown;) {
        grown = false;
        for (const chunk_range& d : demand_) {
            if (d.end <= run.first ? run.first - d.end > gap : d.first > run.end + gap) continue;
            if (d.first >= run.first && d.end <= run.end) continue;
            const chunk_range wider = grow(run, {std::min(run.first, d.first), std::max(run.end, d.end)});
            // Only if it reaches what is wanted: else the gap would be fetched for nothing.
            const bool reaches = wider.first < d.end && wider.end > d.first;
            if (!reaches || wider == run) continue;
            run = wider;
            grown = true;
        }
    }
    return run;
}

// A demanded run, rounded to what is worth fetching with it: an aligned block, and larger ones for as long as half of
// them is there anyway, as far as the account allows.
chunk_range planner::widen(chunk_range run) const {
    run = join_neighbours(run);
    const std::int64_t account = allowance(around_, limits_.generosity_around);
    if (account <= 0) return run;
    const std::uint64_t most_extra = static_cast<std::uint64_t>(account);
    const std::uint64_t end = chunk_count(blob_bytes_);
    const auto block = [&](std::uint64_t size) {
        return chunk_range{run.first / size * size, std::min(end, (run.end + size - 1) / size * size)};
    };
    chunk_range best = run;
    for (std::uint64_t size = block_chunks(); size >= 2; size /= 2) {
        const chunk_range wide = grow(run, block(size));
        if (wide.count() - run.count() > most_extra) continue;
        best = wide;
        break;
    }
    for (std::uint64_t size = block_chunks() * 2; size <= to_chunks(limits_.max_dense_bytes); size *= 2) {
        const chunk_range around = block(size);
        std::uint64_t dense = best.count();
        for (std::uint64_t chunk = around.first; chunk < around.end; ++chunk)
            if (!best.contains(chunk) && (table_->present(chunk) || flying(chunk))) ++dense;
        if (dense * 2 < around.count() || busy()) break;
        const chunk_range wide = grow(best, around);
        if (wide.count() - run.count() > most_extra / 2) break;
        best = wide;
    }
    return best;
}

// Claims `run` from its front, then what lies around it inside of `wide` and of what comes with both.
std::optional<planned_request> planner::take(chunk_range run, chunk_range wide, priority level, plan_time now) {
    const std::uint64_t wanted = table_->claim(run);
    if (wanted == 0) return std::nullopt;
    if (wide.empty()) wide = run;
    wide = {std::min(run.first, wide.first), std::max(run.end, wide.end)};
    if (limits_.fetched_together) wide = limits_.fetched_together(wide);
    chunk_range got{run.first, run.first + wanted};
    if (got.end == run.end && wide.end > run.end) got.end += table_->claim({run.end, wide.end});
    while (got.first > wide.first && !flying(got.first - 1) && table_->claim({got.first - 1, got.first}) == 1)
        --got.first;
    const std::uint64_t bytes = std::min(got.end << chunk_shift, blob_bytes_) - (got.first << chunk_shift);
    requested_bytes_ += bytes;
    if (level == priority::demand) pay(around_, got);
    flights_.push_back({next_id_, got, level, link_->sent(flights_.empty(), now)});
    return planned_request{next_id_++, got, level};
}

std::optional<planned_request> planner::plan_demand(plan_time now) {
    waiting_for_others_ = false;
    const auto run = first_open(demand_, waiting_for_others_);
    if (!run) return std::nullopt;
    const std::uint64_t most = cut_chunks();
    if (run->count() > most) return take({run->first, run->first + most}, {}, priority::demand, now);
    chunk_range wide = widen(*run);
    if (wide.count() > 2 * most) wide = *run;
    const auto request = take(*run, wide, priority::demand, now);
    if (request) {
        // A stream that is at this place needn't have it asked for again.
        for (stream& s : streams_)
            if (s.steps != 0 && request->chunks.contains(s.next - 1)) s.ahead = std::max(s.ahead, request->chunks.end);
    }
    return request;
}

std::optional<planned_request> planner::plan_queue(queue& wanted, priority level, std::uint64_t most, plan_time now) {
    drop_done(wanted);
    bool others = false;
    auto run = first_open(wanted, others);
    if (!run) return std::nullopt;
    run->end = std::min(run->end, run->first + std::min(most, cut_chunks()));
    return take(*run, {}, level, now);
}

// How far to run ahead: in proportion to what the stream has proved, to what the link needs to be kept busy.
std::uint64_t planner::window_chunks(const stream& s) const {
    if (!s.sequential()) return 0;
    const std::uint64_t bytes = s.progress << chunk_shift;
    if (bytes < promising_bytes) return 0;
    const std::uint64_t growth = bytes >= proven_bytes ? proven_growth : bytes >= likely_bytes ? likely_growth : 1;
    const std::uint64_t useful = std::clamp(2 * link_->bytes_per_round_trip() + 4 * (cut_chunks() << chunk_shift),
                                            std::uint64_t{4} << 20, limits_.max_window_bytes);
    return std::min(s.progress * growth, useful >> chunk_shift);
}

// How many times what it has read a stream may be in debt. The debt is everybody's: one that ends with much unread
// leaves the next one less, so that the sum stays bounded by the longest one.
std::uint64_t planner::credit(const stream& s) const {
    const std::uint64_t bytes = s.progress << chunk_shift;
    return bytes >= certain_bytes ? 4 : bytes >= proven_bytes ? 1 : 0;
}

std::optional<planned_request> planner::plan_stream(plan_time now) {
    const std::uint64_t chunks = chunk_count(blob_bytes_);
    const std::int64_t account = allowance(ahead_, limits_.generosity_ahead);
    // The one that read last is served first.
    stream* best = nullptr;
    chunk_range best_run;
    for (stream& s : streams_) {
        const std::uint64_t window = window_chunks(s);
        const std::uint64_t end = std::min(chunks, s.next + window);
        const std::int64_t payable = account + static_cast<std::int64_t>(s.progress * credit(s));
        while (s.ahead < end && !open(s.ahead)) ++s.ahead;
        if (s.ahead >= end) continue;
        // Not in small pieces: neither because little is left of the window (but of the blob), nor of the money.
        const std::uint64_t worth = std::min(cut_chunks(), std::max(window / 4, promising_bytes >> chunk_shift));
        if ((end - s.ahead < worth && end < chunks) || payable < static_cast<std::int64_t>(worth)) continue;
        if (best && best->last >= s.last) continue;
        chunk_range run{s.ahead, s.ahead + 1};
        const std::uint64_t most =
            std::min({end, s.ahead + cut_chunks(), s.ahead + static_cast<std::uint64_t>(payable)});
        while (run.end < most && open(run.end)) ++run.end;
        best = &s;
        best_run = run;
    }
    if (!best) return std::nullopt;
    const auto request = take(best_run, {}, priority::readahead, now);
    if (!request) return std::nullopt;
    pay(ahead_, request->chunks);
    best->ahead = request->chunks.end;
    return request;
}

// ---- a link so fast that bytes cost nothing ----

// How much it brings in the time that a rush may take.
std::uint64_t planner::rush_bytes() const {
    return link_->bytes_in(
        std::max<std::chrono::nanoseconds>(limits_.rush_time, link_->latency() * limits_.rush_round_trips));
}

std::optional<planned_request> planner::plan_rush(plan_time now) {
    if (!limits_.rush || !link_->bandwidth_known()) return std::nullopt;
    if (!rushing_ && missing_bytes_ > rush_bytes()) return std::nullopt;
    rushing_ = true;
    const std::uint64_t end = chunk_count(blob_bytes_);
    while (rush_at_ < end && !open(rush_at_)) ++rush_at_;
    if (rush_at_ == end) return std::nullopt;
    const std::uint64_t piece = std::max(link_->bytes_per_round_trip() / 2, min_rush_piece);
    const auto request = take(grow({rush_at_, rush_at_ + 1}, {rush_at_, std::min(end, rush_at_ + to_chunks(piece))}),
                              {}, priority::readahead, now);
    if (request) flights_.back().rush = true;
    return request;
}

// The first bytes may have lain in a buffer on the way, or the link has got others to carry.
void planner::judge_rush(plan_time now) {
    if (!rush_began_ || now - rush_began_->at < rush_proof) return;
    const double seconds = std::chrono::duration<double>(now - rush_began_->at).count();
    const double rate = static_cast<double>(link_->delivered() - rush_began_->delivered) / seconds;
    const double allowed = 2 * static_cast<double>(rush_bytes()) / link_->bytes_per_second();
    if (static_cast<double>(missing_bytes_) <= rate * allowed) return;
    limits_.rush = rushing_ = false;
    for (const flight& f : flights_)
        if (f.rush) called_off_.push_back(f.id);
}

std::vector<std::uint64_t> planner::called_off() {
    return std::exchange(called_off_, {});
}

// ---- background ----

// Background begins when nobody has waited for anything for a while.
plan_time planner::quiet_at() const {
    return last_demand_ + std::max<std::chrono::nanoseconds>(20ms, link_->latency() * 2);
}

void planner::refill(plan_time now) {
    const double rate = static_cast<double>(limits_.background_bytes_per_second);
    const double most = std::max(rate / 4, static_cast<double>(chunk_bytes));
    if (refilled_ == plan_time{})
        background_tokens_ = most;
    else
        background_tokens_ += rate * std::chrono::duration<double>(now - refilled_).count();
    background_tokens_ = std::min(background_tokens_, most);
    refilled_ = now;
}

std::optional<planned_request> planner::plan_background(plan_time now) {
    if (background_.empty() || now < quiet_at() || !demand_.empty()) return std::nullopt;
    if (speculative_in_flight(priority::background) >= limits_.max_background) return std::nullopt;
    std::uint64_t most = cut_chunks();
    if (limits_.background_bytes_per_second != 0) {
        refill(now);
        if (background_tokens_ < static_cast<double>(chunk_bytes)) return std::nullopt;
        most = std::min(most, to_chunks(static_cast<std::uint64_t>(background_tokens_)));
    }
    const auto request = plan_queue(background_, priority::background, most, now);
    if (request && limits_.background_bytes_per_second != 0)
        background_tokens_ -= static_cast<double>(request->chunks.count() << chunk_shift);
    return request;
}

std::vector<planned_request> planner::next(plan_time now) {
    std::vector<planned_request> requests;
    drop_done(demand_);
    while (flights_.size() < limits_.max_in_flight) {
        auto request = plan_demand(now);
        if (!request && speculative_in_flight(priority::readahead) < limits_.max_speculative) {
            request = plan_stream(now);
            if (!request) request = plan_queue(readahead_, priority::readahead, cut_chunks(), now);
            if (!request) request = plan_rush(now);
            if (!request) request = plan_background(now);
        }
        if (!request) break;
        requests.push_back(*request);
    }
    return requests;
}

std::optional<plan_time> planner::wake_at(plan_time now) const {
    if (background_.empty() || !demand_.empty()) return std::nullopt;
    plan_time at = quiet_at();
    if (limits_.background_bytes_per_second != 0 && background_tokens_ < static_cast<double>(chunk_bytes)) {
        const double missing = static_cast<double>(chunk_bytes) - background_tokens_;
        at =
            std::max(at, refilled_ + std::chrono::nanoseconds(
                                         static_cast<std::int64_t>(
                                             1e9 * missing / static_cast<double>(limits_.background_bytes_per_second)) +
                                         1));
    }
    if (at > now) return at;
    return std::nullopt;
}

}  // namespace nerofs::cache
