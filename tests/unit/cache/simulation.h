// A source, a link and readers in simulated time around a planner: deterministic, no thread and no clock.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <memory>
#include <random>
#include <vector>

#include "cache/planner.h"

namespace nerofs::cache {

struct simulated_link {
    double latency = 0.010;        // seconds until a request's first byte
    double bandwidth = 125e6;      // bytes a second, all connections together
    double per_connection = 1e12;  // bytes a second, one connection
};

struct read_op {
    std::uint64_t offset = 0;
    std::uint64_t length = 0;
    double think = 0;  // seconds of work before it
};

struct simulated_reader {
    std::vector<read_op> ops;
    unsigned depth = 1;  // reads that wait at a time
    bool tells_hits = false;
    double start = 0;

    // Its state.
    std::size_t issued = 0;
    std::size_t thought_about = ~std::size_t{0};
    std::vector<std::size_t> waiting;
    double ready_at = 0;
    double worst_wait = 0;
    std::vector<double> since;
    double finished_at = -1;
};

struct simulation_result {
    double seconds = 0;  // until the last reader was done
    std::uint64_t requests = 0;
    std::uint64_t fetched = 0;
    std::uint64_t asked = 0;  // distinct bytes the readers wanted, in 4 KiB pages as the kernel asks
    unsigned most_in_flight = 0;
    double fetched_per_asked() const { return static_cast<double>(fetched) / static_cast<double>(asked); }
};

class simulation final : public chunk_table {
  public:
    simulation(std::uint64_t blob_bytes, simulated_link way, planner_limits limits = {})
        : blob_bytes_(blob_bytes),
          way_(way),
          states_(chunk_count(blob_bytes)),
          pages_((blob_bytes + 4095) / 4096),
          plan(blob_bytes, *this, link, limits) {}

    bool present(std::uint64_t chunk) const override { return states_[chunk] == state::present; }
    bool available(std::uint64_t chunk) const override { return states_[chunk] == state::missing; }
    std::uint64_t claim(chunk_range range) override {
        std::uint64_t n = 0;
        for (std::uint64_t c = range.first; c < range.end && available(c); ++c, ++n) states_[c] = state::claimed;
        return n;
    }

    // Runs until all readers are done, and with `drain` until nothing is left to do. False if it doesn't end.
    simulation_result run(std::vector<simulated_reader>& readers, bool drain = false) {
        for (simulated_reader& r : readers) r.ready_at = now_ + r.start;
        simulation_result result;
        const std::uint64_t requests_before = plan.requests();
        const std::uint64_t fetched_before = plan.requested_bytes();
        const double began = now_;
        for (std::uint64_t events = 0; events < 50'000'000; ++events) {
            bool all_done = true;
            for (simulated_reader& r : readers) all_done = serve(r) && all_done;
            for (const planned_request& request : plan.next(time())) send(request);
            result.most_in_flight = std::max(result.most_in_flight, static_cast<unsigned>(transfers_.size()));
            if (all_done && result.seconds == 0) result.seconds = now_ - began;
            if (all_done && (!drain || (transfers_.empty() && !plan.wake_at(time())))) break;
            const double next = next_event(readers);
            if (next == never) break;  // nobody will ever move again
            move_to(next);
        }
        for (const simulated_reader& r : readers)
            if (r.finished_at < 0) result.seconds = never;
        result.requests = plan.requests() - requests_before;
        result.fetched = plan.requested_bytes() - fetched_before;
        result.asked = static_cast<std::uint64_t>(std::count(pages_.begin(), pages_.end(), true)) * 4096;
        return result;
    }

    void add_work(std::uint64_t offset, std::uint64_t length, priority level) {
        plan.miss(offset, length, level, time());
    }
    std::uint64_t present_chunks() const {
        return static_cast<std::uint64_t>(std::count(states_.begin(), states_.end(), state::present));
    }
    // Somebody else's claim, and its end.
    void set_foreign(std::uint64_t chunk, bool claimed) { states_[chunk] = claimed ? state::claimed : state::present; }
    double now() const { return now_; }
    plan_time time() const {
        return plan_time(std::chrono::seconds(1000)) + std::chrono::nanoseconds(static_cast<std::int64_t>(now_ * 1e9));
    }

    static constexpr double never = std::numeric_limits<double>::infinity();

    link_model link;

  private:
    enum class state : std::uint8_t { missing, claimed, present };
    struct transfer {
        std::uint64_t id = 0;
        chunk_range chunks;
        double body_at = 0;
        double left = 0;  // bytes
        double unreported = 0;
        std::uint64_t reported = 0;
    };

    // Lets a reader go as far as it can now. Whether it is at its end.
    bool serve(simulated_reader& r) {
        std::erase_if(r.waiting, [&](std::size_t i) {
            if (!all_there(r.ops[i])) return false;
            r.worst_wait = std::max(r.worst_wait, now_ - r.since[i]);
            return true;
        });
        r.since.resize(r.ops.size());
        while (r.issued < r.ops.size() && r.waiting.size() < r.depth) {
            const read_op& op = r.ops[r.issued];
            if (op.think > 0 && r.thought_about != r.issued) {
                r.thought_about = r.issued;
                r.ready_at = std::max(r.ready_at, now_) + op.think;
            }
            if (r.ready_at > now_ + 1e-12) break;
            for (std::uint64_t p = op.offset / 4096; p < (op.offset + op.length + 4095) / 4096 && p < pages_.size();
                 ++p)
                pages_[p] = true;
            r.since[r.issued] = now_;
            if (all_there(op)) {
                if (r.tells_hits) plan.hit(op.offset, op.length, time());
            } else {
                plan.miss(op.offset, op.length, priority::demand, time());
                r.waiting.push_back(r.issued);
            }
            ++r.issued;
        }
        const bool done = r.issued == r.ops.size() && r.waiting.empty();
        if (done && r.finished_at < 0) r.finished_at = now_;
        return done;
    }
    bool all_there(const read_op& op) const {
        const chunk_range range = chunks_of(op.offset, op.length);
        for (std::uint64_t c = range.first; c < range.end; ++c)
            if (!present(c)) return false;
        return true;
    }
    void send(const planned_request& request) {
        const std::uint64_t begin = request.chunks.first << chunk_shift;
        const std::uint64_t end = std::min(request.chunks.end << chunk_shift, blob_bytes_);
        transfers_.push_back({request.id, request.chunks, now_ + way_.latency, static_cast<double>(end - begin), 0, 0});
    }
    double rate() const {
        const auto n = std::count_if(transfers_.begin(), transfers_.end(),
                                     [this](const transfer& t) { return t.body_at <= now_ + 1e-12; });
        return n == 0 ? 0 : std::min(way_.per_connection, way_.bandwidth / static_cast<double>(n));
    }
    double next_event(const std::vector<simulated_reader>& readers) const {
        double next = never;
        const double r = rate();
        for (const transfer& t : transfers_) {
            if (t.body_at > now_ + 1e-12) {
                next = std::min(next, t.body_at);
            } else {
                // The next chunk to be whole, or the end.
                const double to_chunk = std::min(t.left, static_cast<double>(chunk_bytes) - t.unreported);
                next = std::min(next, now_ + to_chunk / r);
            }
        }
        for (const simulated_reader& reader : readers)
            if (reader.issued < reader.ops.size() && reader.waiting.size() < reader.depth && reader.ready_at > now_)
                next = std::min(next, reader.ready_at);
        if (const auto wake = plan.wake_at(time()))
            next = std::min(next, std::max(now_, std::chrono::duration<double>(*wake - time()).count() + now_ + 1e-6));
        return next;
    }
    void move_to(double at) {
        const double bytes = rate() * (at - now_);
        const double before = now_;
        now_ = at;
        std::vector<std::uint64_t> over;
        for (transfer& t : transfers_) {
            if (t.body_at > before + 1e-12) {
                if (t.body_at <= at + 1e-12) plan.arrived(t.id, 0, time());
                continue;
            }
            const double moved = std::min(t.left, bytes);
            t.left -= moved;
            t.unreported += moved;
            const bool done = t.left < 0.5;
            if (t.unreported < static_cast<double>(chunk_bytes) - 0.5 && !done) continue;
            const auto whole = done ? t.chunks.count() : t.reported + 1;
            plan.arrived(t.id, static_cast<std::uint64_t>(t.unreported + 0.5), time());
            for (; t.reported < whole; ++t.reported) states_[t.chunks.first + t.reported] = state::present;
            t.unreported = 0;
            if (done) over.push_back(t.id);
        }
        for (const std::uint64_t id : over) {
            std::erase_if(transfers_, [=](const transfer& t) { return t.id == id; });
            plan.finished(id, time());
        }
    }

    std::uint64_t blob_bytes_;
    simulated_link way_;
    std::vector<state> states_;
    std::vector<bool> pages_;
    std::vector<transfer> transfers_;
    double now_ = 0;

  public:
    planner plan;
};

}  // namespace nerofs::cache
