#include "cache/planner.h"

#include <gtest/gtest.h>

#include <set>

#include "cache/presence/touch_map.h"
#include "cache/private_store.h"
#include "cache/writer_chunks.h"
#include "simulation.h"
#include "support.h"

namespace nerofs::cache {
namespace {

using namespace std::chrono_literals;

constexpr std::uint64_t image_bytes = 110'000'000;
constexpr double mbit_100 = 12.5e6;
constexpr double gbit = 125e6;

planner_limits with_hits() {
    planner_limits limits;
    limits.sees_hits = true;
    return limits;
}

std::vector<read_op> front_to_back(std::uint64_t from, std::uint64_t to, std::uint64_t step = 128 * 1024) {
    std::vector<read_op> ops;
    for (std::uint64_t at = from; at < to; at += step) ops.push_back({at, std::min(step, to - at), 0});
    return ops;
}

std::vector<read_op> at_random(unsigned seed, unsigned count, std::uint64_t blob = image_bytes) {
    std::mt19937 random(seed);
    std::vector<read_op> ops;
    for (unsigned i = 0; i < count; ++i) {
        const std::uint64_t length = std::uniform_int_distribution<std::uint64_t>(1, 32)(random) * 4096;
        ops.push_back(
            {std::uniform_int_distribution<std::uint64_t>(0, (blob - length) / 4096)(random) * 4096, length, 0.0005});
    }
    return ops;
}

// What starting a Python program reads: directories, clusters of small files, shared objects by page faults. As dense
// as the job of the issue was seen to be (710 chunks in some 50 MiB-blocks, 120 blocks of 256 KiB).
std::vector<read_op> imports(unsigned seed) {
    constexpr double think = 0.0012;
    std::mt19937 random(seed);
    const auto pick = [&](std::uint64_t least, std::uint64_t most) {
        return std::uniform_int_distribution<std::uint64_t>(least, most)(random);
    };
    std::vector<read_op> ops;
    const auto metadata = [&] { ops.push_back({image_bytes / 2 + pick(0, 250) * 4096, 4096, think}); };
    for (unsigned cluster = 0; cluster < 24; ++cluster) {
        const std::uint64_t at = pick(0, (image_bytes - 3'000'000) / 4096) * 4096;
        const std::uint64_t span = pick(100, 900) * 1024;
        for (std::uint64_t file = 0; file < span / 1024 / 24; ++file) {
            if (file % 5 == 0) metadata();
            const std::uint64_t begin = at + pick(0, span / 4096) * 4096;
            const std::uint64_t length = pick(1, 14) * 4096;
            for (std::uint64_t o = 0; o < length; o += 32 * 1024)
                ops.push_back({begin + o, std::min<std::uint64_t>(32 * 1024, length - o), think});
        }
        if (cluster % 3 != 0) continue;
        const std::uint64_t object = pick(0, (image_bytes - 6'000'000) / 4096) * 4096;
        const std::uint64_t length = pick(500, 3000) * 1024;
        metadata();
        ops.push_back({object, 4096, think});
        for (std::uint64_t o = 0; o + 128 * 1024 < length; o += 128 * 1024)
            if (pick(0, 9) < 7) ops.push_back({object + o, 128 * 1024, think});
    }
    return ops;
}

simulation_result read_all(simulation& s, std::vector<read_op> ops, unsigned depth, bool tells_hits = false) {
    std::vector<simulated_reader> readers(1);
    readers[0].ops = std::move(ops);
    readers[0].depth = depth;
    readers[0].tells_hits = tells_hits;
    return s.run(readers);
}

TEST(planner, everything_from_front_to_back_takes_no_longer_than_a_download) {
    for (const double latency : {0.0001, 0.010, 0.050})
        for (const double bandwidth : {mbit_100, gbit})
            for (const unsigned depth : {2u, 4u, 8u})
                for (const bool hits : {false, true}) {
                    simulation s(image_bytes, {latency, bandwidth, 1e12}, hits ? with_hits() : planner_limits{});
                    const auto result = read_all(s, front_to_back(0, image_bytes), depth, hits);
                    const double download = latency + image_bytes / bandwidth;
                    EXPECT_LE(result.seconds, 1.1 * download) << latency << " " << bandwidth << " " << depth << hits;
                    EXPECT_EQ(result.fetched, image_bytes);  // each byte once
                    EXPECT_LE(result.requests, 250u) << latency << " " << bandwidth << " " << depth << hits;
                }
}

TEST(planner, a_reader_of_one_block_at_a_time_isn_t_much_slower) {
    for (const bool hits : {false, true}) {
        simulation s(image_bytes, {0.010, gbit, 1e12}, hits ? with_hits() : planner_limits{});
        const auto result = read_all(s, front_to_back(0, image_bytes, 4096), 1, hits);
        EXPECT_LE(result.seconds, 1.1 * (0.010 + image_bytes / gbit));
        EXPECT_EQ(result.fetched, image_bytes);
    }
}

TEST(planner, several_connections_overcome_a_limit_of_each) {
    simulation s(image_bytes, {0.010, gbit, gbit / 4});
    const auto result = read_all(s, front_to_back(0, image_bytes), 8);
    EXPECT_LE(result.seconds, 1.3 * (0.010 + image_bytes / gbit));  // one connection alone would take 4 times
}

TEST(planner, a_program_that_starts_takes_few_requests_and_few_bytes) {
    std::uint64_t requests = 0;
    for (unsigned seed = 1; seed <= 8; ++seed) {
        const auto ops = imports(seed);
        double think = 0;
        for (const read_op& op : ops) think += op.think;
        simulation s(image_bytes, {0.010, gbit, 1e12}, with_hits());
        const auto result = read_all(s, ops, 1, true);
        EXPECT_LE(result.requests, 90u) << seed;
        requests += result.requests;
        EXPECT_LE(result.fetched_per_asked(), 2.5) << seed;
        // Not slower than to download all of it first.
        EXPECT_LE(result.seconds, 1.1 * (think + 0.010 + image_bytes / gbit)) << seed;

        // On a slow link fewer bytes matter more.
        simulation slow(image_bytes, {0.010, mbit_100, 1e12}, with_hits());
        const auto slowly = read_all(slow, ops, 1, true);
        EXPECT_LE(slowly.seconds, 0.55 * (think + image_bytes / mbit_100)) << seed;
        EXPECT_LE(slowly.fetched_per_asked(), 2.5) << seed;
        EXPECT_LE(slowly.requests, 100u) << seed;

        // Without news of hits it works with less.
        simulation blind(image_bytes, {0.010, gbit, 1e12});
        const auto blindly = read_all(blind, ops, 1);
        EXPECT_LE(blindly.requests, 160u) << seed;
        EXPECT_LE(blindly.fetched_per_asked(), 2.5) << seed;
    }
    EXPECT_LE(requests, 8 * 80u);
}

TEST(planner, random_reads_are_not_run_ahead_of) {
    for (unsigned seed = 1; seed <= 5; ++seed) {
        simulation s(8'000'000'000, {0.010, gbit, 1e12}, with_hits());
        const auto result = read_all(s, at_random(seed, 400, 8'000'000'000), 1, true);
        EXPECT_LE(result.requests, 420u);
        EXPECT_LE(result.fetched_per_asked(), 2.6);
        // One round trip each, and the time of the bytes.
        EXPECT_LE(result.seconds, 400 * 0.0125 + static_cast<double>(result.fetched) / gbit);
    }
}

// The bound of the header, against whatever readers do.
TEST(planner, what_nobody_asked_for_is_bounded) {
    for (unsigned seed = 1; seed <= 40; ++seed) {
        std::mt19937 random(seed);
        const auto pick = [&](std::uint64_t most) {
            return std::uniform_int_distribution<std::uint64_t>(0, most)(random);
        };
        const planner_limits limits = with_hits();
        const simulated_link link{0.0001 + 0.001 * static_cast<double>(pick(50)),
                                  1e6 * static_cast<double>(1 + pick(1000)), 1e12};
        simulation s(400'000'000, link, limits);
        std::vector<simulated_reader> readers(1 + pick(3));
        std::uint64_t longest = 0;
        std::set<std::uint64_t> chunks;
        for (simulated_reader& r : readers) {
            r.depth = static_cast<unsigned>(1 + pick(7));
            r.tells_hits = true;
            for (unsigned run = 0; run < 30; ++run) {
                const std::uint64_t length = pick(3) == 0 ? pick(6'000'000) : pick(300'000);
                const std::uint64_t from = pick(400'000'000 - length - 1);
                for (const read_op& op : front_to_back(from, from + length, 4096 + pick(200'000))) r.ops.push_back(op);
                longest = std::max(longest, length);
            }
            for (const read_op& op : r.ops) {
                const auto range = chunks_of(op.offset, op.length);
                for (std::uint64_t c = range.first; c < range.end; ++c) chunks.insert(c);
            }
        }
        const auto result = s.run(readers);
        ASSERT_LT(result.seconds, 1e6);
        const double asked = static_cast<double>(chunks.size()) * static_cast<double>(chunk_bytes);
        EXPECT_LE(static_cast<double>(result.fetched),
                  (1 + limits.generosity_around + limits.generosity_ahead) * asked +
                      2 * static_cast<double>(limits.opening_allowance) + 4 * static_cast<double>(2 * longest))
            << seed;
        EXPECT_LE(result.most_in_flight, limits.max_in_flight);
    }
}

TEST(planner, streams_side_by_side_are_all_recognised) {
    simulation s(image_bytes, {0.020, gbit, 1e12});
    std::vector<simulated_reader> readers(4);
    for (unsigned i = 0; i < 4; ++i) {
        readers[i].ops = front_to_back(i * 25'000'000, (i + 1) * 25'000'000);
        readers[i].depth = 4;
    }
    const auto result = s.run(readers);
    EXPECT_LE(result.seconds, 1.25 * (0.020 + 100e6 / gbit));
    EXPECT_LE(result.requests, 200u);
}

TEST(planner, a_random_reader_isn_t_kept_waiting_by_a_stream) {
    simulation s(image_bytes, {0.010, gbit, 1e12});
    std::vector<simulated_reader> readers(2);
    readers[0].ops = front_to_back(0, 80'000'000);
    readers[0].depth = 8;
    for (unsigned i = 0; i < 20; ++i) readers[1].ops.push_back({85'000'000 + i * 1'200'000, 4096, 0.02});
    ASSERT_LT(s.run(readers).seconds, 1e6);
    // A round trip, and its block at an eighth of the link. The stream has some 30 MB to fetch at that time.
    EXPECT_LE(readers[1].worst_wait, 0.060);
}

TEST(planner, a_waiter_goes_on_before_the_rest_of_its_request_has_come) {
    simulation s(image_bytes, {0.010, mbit_100 / 10, 1e12});
    std::vector<simulated_reader> readers(2);
    readers[0].ops = {{0, 32 * 1024, 0}};
    readers[1].ops = {{32 * 1024, 4'000'000, 0}};
    ASSERT_LT(s.run(readers).seconds, 1e6);
    EXPECT_LE(readers[0].finished_at, 0.010 + 8 * 32e3 * 1.1 / (mbit_100 / 10));
    EXPECT_GE(readers[1].finished_at, 3.0);
}

TEST(planner, the_background_fills_the_rest_when_nobody_waits) {
    planner_limits limits;
    limits.background_bytes_per_second = 10'000'000;
    simulation s(image_bytes, {0.010, gbit, 1e12}, limits);
    s.add_work(0, image_bytes, priority::background);
    std::vector<simulated_reader> readers(1);
    for (unsigned i = 0; i < 30; ++i) readers[0].ops.push_back({(i * 37 % 100) * 1'000'000, 4096, 0.1});
    const auto result = s.run(readers, true);
    EXPECT_EQ(s.present_chunks(), chunk_count(image_bytes));
    EXPECT_EQ(result.fetched, image_bytes);
    EXPECT_GE(s.now(), 0.8 * image_bytes / 10e6);  // the readers brought some of it
    EXPECT_LE(s.now(), 1.3 * image_bytes / 10e6);
    EXPECT_LE(readers[0].worst_wait, 0.010 + 0.020);
}

TEST(planner, an_unlimited_background_uses_the_link) {
    simulation s(image_bytes, {0.010, gbit, 1e12});
    s.add_work(0, image_bytes, priority::background);
    std::vector<simulated_reader> nobody;
    const auto result = s.run(nobody, true);
    EXPECT_EQ(s.present_chunks(), chunk_count(image_bytes));
    EXPECT_LE(s.now(), 1.2 * (0.05 + image_bytes / gbit));
    EXPECT_LE(result.requests, 200u);
}

TEST(planner, announced_reads_come_in_few_requests) {
    // The metadata of an image, while somebody reads elsewhere.
    simulation s(image_bytes, {0.010, gbit, 1e12});
    s.add_work(50'000'000, 1'500'000, priority::readahead);
    std::vector<simulated_reader> readers(1);
    readers[0].ops = {{10'000, 4096, 0}};
    const auto result = s.run(readers, true);
    EXPECT_LE(result.requests, 5u);
    const auto range = chunks_of(50'000'000, 1'500'000);
    for (std::uint64_t c = range.first; c < range.end; ++c) EXPECT_TRUE(s.present(c));
}

// Bytes cost nothing on a link that brings all of them in half a second; a slower one mustn't notice the rule.
TEST(planner, a_fast_link_brings_everything_at_once) {
    planner_limits limits = with_hits();
    limits.rush = true;
    for (const double latency : {0.0001, 0.010, 0.050}) {
        const auto ops = imports(1);
        simulation s(image_bytes, {latency, 10 * gbit, 1e12}, limits);
        std::vector<simulated_reader> readers(1);
        readers[0].ops = ops;
        readers[0].tells_hits = true;
        const auto result = s.run(readers, true);
        double think = 0;
        for (const read_op& op : ops) think += op.think;
        EXPECT_EQ(s.present_chunks(), chunk_count(image_bytes)) << latency;
        EXPECT_EQ(result.fetched, image_bytes) << latency;
        EXPECT_LE(result.requests, latency < 0.005 ? 200u : 80u) << latency;
        // The first read tells of the link, its first pieces are half a round trip long.
        EXPECT_LE(result.seconds, think + 4 * latency + 1.1 * image_bytes / (10 * gbit)) << latency;
    }
}

TEST(planner, a_slower_link_is_not_rushed) {
    for (const double bandwidth : {mbit_100, gbit}) {
        planner_limits limits = with_hits();
        simulation without(image_bytes, {0.010, bandwidth, 1e12}, limits);
        limits.rush = true;
        simulation with(image_bytes, {0.010, bandwidth, 1e12}, limits);
        const auto expected = read_all(without, imports(1), 1, true);
        const auto result = read_all(with, imports(1), 1, true);
        EXPECT_EQ(result.requests, expected.requests);
        EXPECT_EQ(result.fetched, expected.fetched);
    }
}

// One planner over a plain table, step by step.
struct steps : ::testing::Test {
    struct table final : chunk_table {
        std::vector<char> state = std::vector<char>(3000, '.');
        bool present(std::uint64_t c) const override { return state[c] == 'P'; }
        bool available(std::uint64_t c) const override { return state[c] == '.'; }
        std::uint64_t claim(chunk_range r) override {
            std::uint64_t n = 0;
            for (; r.first + n < r.end && state[r.first + n] == '.'; ++n) state[r.first + n] = 'c';
            return n;
        }
        void fill(chunk_range r, char with = 'P') {
            for (std::uint64_t c = r.first; c < r.end; ++c) state[c] = with;
        }
    };
    table chunks;
    link_model link;
    planner plan{3000 * chunk_bytes - 5, chunks, link};
    plan_time now{1000s};

    std::vector<planned_request> next() { return plan.next(now); }
    void demand(std::uint64_t chunk, std::uint64_t count = 1) {
        plan.miss(chunk * chunk_bytes, count * chunk_bytes, priority::demand, now);
    }
};

// What lies before it and is missing, too, is nobody's wish.
TEST_F(steps, an_announced_run_in_the_middle_of_an_empty_blob_takes_its_own_chunks_and_no_other) {
    plan.miss(1000 * chunk_bytes, 20 * chunk_bytes, priority::readahead, now);
    const auto requests = next();
    ASSERT_EQ(requests.size(), 1u);
    EXPECT_EQ(requests[0].chunks, (chunk_range{1000, 1020}));
    for (std::uint64_t c = 0; c < 3000; ++c) EXPECT_EQ(chunks.state[c], c >= 1000 && c < 1020 ? 'c' : '.') << c;
}

// Where a part of a unit costs as much as all of it, no two requests have parts of the same one, whatever asks.
TEST(planner, requests_are_whole_units) {
    steps::table chunks;
    link_model link;
    planner_limits limits;
    constexpr std::uint64_t unit = 16;
    limits.fetched_together = [](chunk_range r) {
        return chunk_range{r.first / unit * unit, std::min<std::uint64_t>((r.end + unit - 1) / unit * unit, 2995)};
    };
    planner plan(2995 * chunk_bytes - 5, chunks, link, limits);
    plan_time now{1000s};
    std::mt19937 random(3);
    std::vector<char> asked(3000 / unit + 1);
    const auto answer_all = [&] {
        for (const planned_request& r : plan.next(now)) {
            EXPECT_EQ(r.chunks.first % unit, 0u);
            EXPECT_TRUE(r.chunks.end % unit == 0 || r.chunks.end == 2995) << r.chunks.end;
            for (std::uint64_t u = r.chunks.first / unit; u * unit < r.chunks.end; ++u) EXPECT_EQ(asked[u]++, 0) << u;
            chunks.fill(r.chunks);
            now += 3ms;
            plan.arrived(r.id, r.chunks.count() * chunk_bytes, now);
            plan.finished(r.id, now);
        }
    };
    for (int i = 0; i < 60; ++i) {  // far more than the account would pay for
        plan.miss(random() % 2990 * chunk_bytes, 5000, priority::demand, now);
        answer_all();
    }
    for (std::uint64_t chunk = 1003; chunk < 1500; ++chunk) {  // a stream
        plan.miss(chunk * chunk_bytes, chunk_bytes, priority::demand, now);
        answer_all();
    }
    plan.miss(2001 * chunk_bytes, 300 * chunk_bytes, priority::readahead, now);
    answer_all();
    now += 1h;
    plan.miss(0, 3000 * chunk_bytes, priority::background, now);
    while (std::count(chunks.state.begin(), chunks.state.begin() + 2995, '.') != 0 && now < plan_time{9000s}) {
        now += 1s;
        answer_all();
    }
    EXPECT_EQ(std::count(asked.begin(), asked.begin() + 2995 / unit + 1, 1), 2995 / unit + 1);
}

TEST_F(steps, what_is_on_its_way_is_not_asked_for_again) {
    demand(100);
    const auto first = next();
    ASSERT_EQ(first.size(), 1u);
    EXPECT_TRUE(first[0].chunks.contains(100));
    demand(100);
    demand(first[0].chunks.end - 1);
    EXPECT_TRUE(next().empty());
}

TEST_F(steps, neighbours_that_wait_come_together) {
    for (const std::uint64_t chunk : {203u, 200u, 209u, 205u, 201u}) demand(chunk);
    const auto requests = next();
    ASSERT_EQ(requests.size(), 1u);
    EXPECT_LE(requests[0].chunks.first, 200u);
    EXPECT_GE(requests[0].chunks.end, 210u);
}

TEST_F(steps, a_failed_request_is_planned_again_for_those_who_wait) {
    demand(100);
    const auto first = next();
    ASSERT_EQ(first.size(), 1u);
    chunks.fill(first[0].chunks, '.');
    plan.finished(first[0].id, now);
    const auto again = next();
    ASSERT_EQ(again.size(), 1u);
    EXPECT_TRUE(again[0].chunks.contains(100));
    chunks.fill(again[0].chunks, '.');
    plan.finished(again[0].id, now);
    plan.forget(100 * chunk_bytes, chunk_bytes);
    EXPECT_TRUE(next().empty());
}

TEST_F(steps, chunks_that_others_fetch_are_waited_for_and_taken_when_they_give_up) {
    chunks.fill({100, 102}, 'o');
    demand(100, 2);
    EXPECT_TRUE(next().empty());
    EXPECT_TRUE(plan.waiting_for_others());
    chunks.fill({100, 101}, 'P');
    chunks.fill({101, 102}, '.');
    const auto taken = next();
    ASSERT_EQ(taken.size(), 1u);
    EXPECT_TRUE(taken[0].chunks.contains(101));
    EXPECT_FALSE(taken[0].chunks.contains(100));
    EXPECT_FALSE(plan.waiting_for_others());
}

TEST_F(steps, demand_finds_a_free_connection_and_the_number_is_bounded) {
    plan.miss(0, 3000 * chunk_bytes, priority::readahead, now);
    EXPECT_EQ(next().size(), 6u);
    for (unsigned i = 0; i < 5; ++i) demand(2900 - 100 * i);
    const auto urgent = next();
    ASSERT_EQ(urgent.size(), 2u);
    for (const auto& request : urgent) EXPECT_EQ(request.level, priority::demand);
    EXPECT_EQ(plan.in_flight(), 8u);
}

struct rush : steps {
    planner plan{3000 * chunk_bytes - 5, chunks, link, with_rush()};

    static planner_limits with_rush() {
        planner_limits limits;
        limits.rush = true;
        return limits;
    }
    // The first request's answer comes at 1 GB/s, and more is asked for because of it.
    std::vector<planned_request> begin() {
        plan.miss(0, 1, priority::demand, now);
        const auto first = plan.next(now);
        EXPECT_EQ(first.size(), 1u);
        const std::uint64_t bytes = first[0].chunks.count() * chunk_bytes;
        now += 10ms;
        plan.arrived(first[0].id, bytes / 2, now);
        EXPECT_TRUE(plan.next(now).empty());
        now += std::chrono::nanoseconds(bytes);
        plan.arrived(first[0].id, bytes - bytes / 2, now);
        chunks.fill(first[0].chunks);
        plan.finished(first[0].id, now);
        return plan.next(now);
    }
};

TEST_F(rush, leaves_connections_to_those_who_wait) {
    EXPECT_EQ(begin().size(), 6u);
    plan.miss(2900 * chunk_bytes, 1, priority::demand, now);
    const auto urgent = plan.next(now);
    ASSERT_EQ(urgent.size(), 1u);
    EXPECT_EQ(urgent[0].level, priority::demand);
}

TEST_F(rush, is_called_off_when_the_link_turns_out_slow) {
    const auto rushed = begin();
    std::set<std::uint64_t> ids;
    for (const auto& request : rushed) ids.insert(request.id);
    now += 10ms;
    plan.arrived(rushed[0].id, 1, now);
    for (int i = 0; i < 9; ++i) {
        now += 10ms;
        plan.arrived(rushed[0].id, 100'000, now);  // 10 MB/s
        EXPECT_TRUE(plan.called_off().empty());
    }
    now += 10ms;
    plan.arrived(rushed[0].id, 100'000, now);
    const auto slow = plan.called_off();
    EXPECT_EQ(std::set<std::uint64_t>(slow.begin(), slow.end()), ids);
    EXPECT_TRUE(plan.called_off().empty());
    for (const auto& request : rushed) {
        chunks.fill(request.chunks, '.');
        plan.finished(request.id, now);
    }
    EXPECT_TRUE(plan.next(now).empty());
}

TEST_F(rush, is_not_tried_again_after_a_failure) {
    const auto rushed = begin();
    for (const auto& request : rushed) {
        chunks.fill(request.chunks, '.');
        plan.finished(request.id, now);
    }
    EXPECT_TRUE(plan.next(now).empty());
}

TEST_F(rush, needs_no_more_than_what_is_missing) {
    // 10 MB/s would take ten seconds for all of it, and a third of one for the rest.
    chunks.fill({0, 2900});
    planner nearly(3000 * chunk_bytes - 5, chunks, link, with_rush());
    nearly.miss(2900 * chunk_bytes, 1, priority::demand, now);
    const auto first = nearly.next(now);
    ASSERT_EQ(first.size(), 1u);
    const std::uint64_t bytes = first[0].chunks.count() * chunk_bytes;
    now += 10ms;
    nearly.arrived(first[0].id, 1, now);
    now += std::chrono::nanoseconds(100 * bytes);
    nearly.arrived(first[0].id, bytes - 1, now);
    chunks.fill(first[0].chunks);
    nearly.finished(first[0].id, now);
    ASSERT_LT(first[0].chunks.end, 3000u);
    EXPECT_EQ(nearly.next(now).back().chunks.end, 3000u);
}

TEST_F(steps, ranges_outside_the_blob_are_cut_off) {
    plan.miss(2999 * chunk_bytes, ~0ull / 2, priority::demand, now);
    plan.miss(~0ull, 1, priority::demand, now);
    plan.miss(3000 * chunk_bytes, 5, priority::background, now);
    plan.miss(0, 0, priority::demand, now);
    plan.arrived(77, 5, now);
    plan.finished(77, now);
    const auto requests = next();
    ASSERT_EQ(requests.size(), 1u);
    EXPECT_EQ(requests[0].chunks.end, 3000u);
}

TEST(planner, over_a_real_writer) {
    constexpr std::uint64_t bytes = 300 * chunk_bytes + 9;
    const held_blob blob = must(open_private(any_key('a', bytes), ""));
    const blob_writer writer = writer_of(blob);
    const blob_writer other = writer_of(blob);
    ASSERT_EQ(other.claim({8, 10}), 2u);
    writer_chunks chunks(writer);
    link_model link;
    planner plan(bytes, chunks, link);
    plan.miss(0, bytes, priority::demand, plan_time(1s));
    std::uint64_t fetched = 0;
    for (auto requests = plan.next(plan_time(1s)); !requests.empty(); requests = plan.next(plan_time(1s)))
        for (const planned_request& request : requests) {
            chunk_fill fill = writer.fill(request.chunks);
            fetched += fill.end_offset() - fill.next_offset();
            must(fill.append(content(fill.next_offset(), fill.end_offset() - fill.next_offset())));
            plan.finished(request.id, plan_time(1s));
        }
    EXPECT_EQ(fetched, bytes - 2 * chunk_bytes);
    EXPECT_TRUE(plan.waiting_for_others());
    EXPECT_EQ(writer.map().present_chunks(), 299u);
}

TEST(touch_map, tells_what_was_read_once) {
    constexpr std::uint64_t bytes = 130 * chunk_bytes;
    const unique_fd memory = must(touch_map::make(bytes));
    const touch_map server = must(touch_map::map(memory, bytes, true));
    touch_map fetcher = must(touch_map::map(memory, bytes, false));
    EXPECT_FALSE(touch_map::map(memory, bytes + 64 * chunk_bytes, false));
    std::vector<chunk_range> seen;
    const auto take = [&] {
        seen.clear();
        fetcher.take_new([&](chunk_range range) { seen.push_back(range); });
        return seen;
    };
    EXPECT_TRUE(take().empty());
    server.mark({3, 5});
    server.mark({62, 67});
    server.mark({129, 500});
    EXPECT_EQ(take(), (std::vector<chunk_range>{{3, 5}, {62, 67}, {129, 130}}));
    server.mark({4, 6});
    EXPECT_EQ(take(), (std::vector<chunk_range>{{5, 6}}));
}

}  // namespace
}  // namespace nerofs::cache
