// A server that goes away and comes back: reads wait, and it isn't stormed.
#include "support.h"

namespace nerofs::source {
namespace {

constexpr unsigned readers = 8;

TEST(away, reads_wait_and_then_finish_however_it_is_away) {
    for (const origin::away how : {origin::away::refuse, origin::away::drop}) {
        sourced t;
        range_source& s = t.open("/blob");
        ASSERT_TRUE(probe(s));
        t.o.go_away(how);
        const readings all = begin_all(s, readers);
        while (s.stats().retries < 20) std::this_thread::yield();
        t.o.come_back();
        expect_all(all, t.blob);
    }
}

TEST(away, one_asks_and_the_others_wait) {
    sourced t;
    range_source& s = t.open("/blob");
    ASSERT_TRUE(probe(s));
    t.o.add_fault(fault_of(fault_kind::status, 503, always));
    t.o.clear_log();
    const readings all = begin_all(s, 100);
    while (s.stats().retries < 30) std::this_thread::yield();
    // All connections asked once; since then it was one at a time, with growing pauses.
    const auto log = t.o.log();
    for (std::size_t i = 2 * t.c->options().connections_per_host; i + 1 < log.size(); ++i)
        EXPECT_GE(log[i + 1].at - log[i].at, 10ms) << i;
    t.o.clear_faults();
    expect_all(all, t.blob);
    EXPECT_EQ(s.stats().requests, 1 + s.stats().retries + 100);
}

TEST(away, a_read_that_comes_later_waits_too) {
    sourced t;
    range_source& s = t.open("/blob");
    ASSERT_TRUE(probe(s));
    t.o.go_away(origin::away::refuse);
    const auto first = begin(s, 0, 1000);
    while (s.stats().retries < 5) std::this_thread::yield();
    const std::uint64_t before = s.stats().requests;
    const http::time_point start = std::chrono::steady_clock::now();
    readings later;
    for (unsigned i = 0; i < 50; ++i) later.push_back(begin(s, i * 1000, 1000, in(60ms)));
    for (const auto& r : later) EXPECT_EQ(r->result.get().how.error().kind, error_kind::timeout);
    // The first one's, each after 15 ms; none of the 50.
    const auto pauses = (std::chrono::steady_clock::now() - start) / 15ms;
    EXPECT_LE(s.stats().requests - before, static_cast<std::uint64_t>(pauses) + 2);
    t.o.come_back();
    EXPECT_TRUE(first->result.get().how);
}

TEST(away, when_the_one_that_asks_gives_up_another_takes_over) {
    sourced t;
    range_source& s = t.open("/blob");
    ASSERT_TRUE(probe(s));
    t.o.go_away(origin::away::refuse);
    const auto first = begin(s, 0, 1000);
    while (s.stats().retries < 5) std::this_thread::yield();
    const auto second = begin(s, 1000, 1000);
    s.cancel(first->number);
    EXPECT_EQ(first->result.get().how.error().kind, error_kind::cancelled);
    const std::uint64_t before = s.stats().retries;
    while (s.stats().retries < before + 2) std::this_thread::yield();
    t.o.come_back();
    EXPECT_TRUE(second->result.get().how);
    EXPECT_EQ(second->bytes, t.part(1000, 1000));
}

TEST(away, usable_again_after_reads_have_failed) {
    sourced t;
    range_source& s = t.open("/blob");
    ASSERT_TRUE(probe(s));
    t.o.go_away(origin::away::refuse);
    EXPECT_EQ(read(s, 0, 10, in(50ms)),
              "[timeout: given up at the deadline: GET " + t.o.url("/blob") + ": cannot connect: Connection refused]");
    t.o.come_back();
    EXPECT_EQ(read(s, 0, 10), t.part(0, 10));
}

TEST(away, in_the_middle_of_bodies) {
    sourced t(1'000'000);
    t.o.set_shape({.connection_bytes_per_second = 1'000'000});
    range_source& s = t.open("/blob");
    ASSERT_TRUE(probe(s));
    const readings all = begin_all(s, 4, 250'000);
    while (s.stats().bytes < 200'000) std::this_thread::yield();
    t.o.go_away(origin::away::drop);
    while (s.stats().retries < 8) std::this_thread::yield();
    t.o.set_shape({});
    t.o.come_back();
    expect_all(all, t.blob);
    EXPECT_EQ(s.stats().bytes, 1'000'001u);  // the probe's, and each once
}

TEST(away, a_registry_with_tokens_and_redirects_comes_back) {
    sourced t;
    t.o.set_redirects({.on = true, .life = 1s});
    range_source& s = t.open(t.registry_path());
    ASSERT_TRUE(probe(s));
    t.o.go_away(origin::away::refuse);
    const readings all = begin_all(s, readers);
    while (s.stats().retries < 12) std::this_thread::yield();
    t.o.pass_time(2s);
    t.o.come_back();
    expect_all(all, t.blob);
    EXPECT_EQ(t.o.count("/v2/"), 2u);
}

}  // namespace
}  // namespace nerofs::source
