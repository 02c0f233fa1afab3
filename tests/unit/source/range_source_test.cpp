// Reads of one URL: whatever the server does, the bytes are right or there is an error.
#include "source/range_source.h"

#include "support.h"

namespace nerofs::source {
namespace {

TEST(range_source, reads) {
    sourced t;
    range_source& s = t.open("/blob");
    EXPECT_EQ(read(s, 1000, 50'000), t.part(1000, 50'000));
    EXPECT_EQ(read(s, 0, 1), t.part(0, 1));
    EXPECT_EQ(read(s, 199'999, 1), t.part(199'999, 1));
    EXPECT_EQ(read(s, 5, 0), "");
    EXPECT_EQ(t.o.count(), 3u);
    EXPECT_EQ(t.o.log()[0].header("range"), "bytes=1000-50999");
}

TEST(range_source, probe_learns_size_and_etag_and_keeps_the_head) {
    sourced t;
    range_source& s = t.open("/blob");
    const auto facts = probe(s, 4096);
    ASSERT_TRUE(facts);
    EXPECT_EQ(facts->size, t.blob.size());
    EXPECT_EQ(facts->etag.front(), '"');
    EXPECT_TRUE(facts->ranges);
    EXPECT_EQ(facts->head, t.part(0, 4096));
    EXPECT_EQ(t.o.count(), 1u);
    // From now on it is known.
    EXPECT_EQ(read(s, 199'999, 2), "[usage: GET " + t.o.url("/blob") + ": a read beyond the end of the blob]");
    EXPECT_EQ(read(s, UINT64_MAX, 2).substr(0, 7), "[usage:");
    EXPECT_EQ(t.o.count(), 1u);
}

TEST(range_source, probe_of_a_blob_smaller_than_the_head) {
    sourced t(100);
    const auto facts = probe(t.open("/blob"), 4096);
    ASSERT_TRUE(facts);
    EXPECT_EQ(facts->size, 100u);
    EXPECT_EQ(facts->head, t.blob);
}

TEST(range_source, probe_of_an_empty_blob) {
    sourced t(0);
    const auto facts = probe(t.open("/blob"), 4096);
    ASSERT_TRUE(facts);
    EXPECT_EQ(facts->size, 0u);
    EXPECT_EQ(facts->head, "");
    EXPECT_EQ(t.o.count(), 1u);
}

TEST(range_source, probe_of_a_server_without_ranges) {
    sourced t;
    t.o.add_fault(fault_of(fault_kind::whole_answer, 0, always));
    const auto facts = probe(t.open("/blob"));
    ASSERT_TRUE(facts);
    EXPECT_FALSE(facts->ranges);
    EXPECT_EQ(facts->size, t.blob.size());
    EXPECT_EQ(t.o.count(), quick().most_refusals);
}

TEST(range_source, probe_goes_on_after_a_broken_body) {
    sourced t;
    t.o.add_fault(fault_of(fault_kind::short_body, 1000));
    const auto facts = probe(t.open("/blob"), 4096);
    ASSERT_TRUE(facts);
    EXPECT_EQ(facts->head, t.part(0, 4096));
    EXPECT_EQ(t.o.log()[1].header("range"), "bytes=0-4095");
}

TEST(range_source, probe_that_fails) {
    sourced t;
    const auto facts = probe(t.open("/nothing"));
    ASSERT_FALSE(facts);
    EXPECT_EQ(facts.error().kind, error_kind::not_found);
    EXPECT_EQ(facts.error().text, "GET " + t.o.url("/nothing") + ": the server answered 404 (not found)");
    EXPECT_EQ(t.o.count(), 1u);
}

TEST(range_source, a_broken_body_is_continued_from_where_it_stopped) {
    sourced t;
    range_source& s = t.open("/blob");
    t.o.add_fault(fault_of(fault_kind::short_body, 30'000));
    t.o.add_fault({.kind = fault_kind::short_body, .amount = 5'000, .skip = 1, .times = 1});
    const auto r = begin(s, 100, 150'000);
    const read_result how = r->result.get();
    ASSERT_TRUE(how.how) << how.how.error().text;
    EXPECT_EQ(r->bytes, t.part(100, 150'000));
    EXPECT_EQ(how.requests, 3u);
    const auto log = t.o.log();
    ASSERT_EQ(log.size(), 3u);
    EXPECT_EQ(log[0].header("range"), "bytes=100-150099");
    EXPECT_EQ(log[1].header("range"), "bytes=30100-150099");
    EXPECT_EQ(log[2].header("range"), "bytes=35100-150099");
    EXPECT_EQ(s.stats().requests, 3u);
    EXPECT_EQ(s.stats().retries, 2u);
    EXPECT_EQ(s.stats().bytes, 150'000u);
}

// A body that says itself that it isn't the range asked for: none of its bytes is taken.
TEST(range_source, takes_nothing_from_an_answer_that_contradicts_itself) {
    sourced t;
    range_source& s = t.open("/blob");
    ASSERT_TRUE(probe(s));
    t.o.add_fault(fault_of(fault_kind::empty_body, 0, 1));
    t.o.add_fault(fault_of(fault_kind::long_body, 100, 1));
    EXPECT_EQ(read(s, 50, 1000), t.part(50, 1000)) << "100 bytes of nonsense in place of 1000 right ones";
}

// Each fault once and then right: the bytes are right, after one request more.
TEST(range_source, survives_each_fault) {
    const std::pair<fault_kind, std::uint64_t> faults[] = {{fault_kind::whole_answer, 0},
                                                           {fault_kind::shifted_range, 0},
                                                           {fault_kind::lied_range, 0},
                                                           {fault_kind::no_content_range, 0},
                                                           {fault_kind::two_content_ranges, 0},
                                                           {fault_kind::star_total, 0},
                                                           {fault_kind::wrong_total, 0},
                                                           {fault_kind::multipart, 0},
                                                           {fault_kind::range_refused, 0},
                                                           {fault_kind::short_body, 7},
                                                           {fault_kind::short_length, 7},
                                                           {fault_kind::long_body, 7},
                                                           {fault_kind::empty_body, 0},
                                                           {fault_kind::stall, 7},
                                                           {fault_kind::reset, 7},
                                                           {fault_kind::broken_chunks, 7},
                                                           {fault_kind::drop, 0},
                                                           {fault_kind::silence, 0},
                                                           {fault_kind::garbage, 0},
                                                           {fault_kind::huge_head, 0},
                                                           {fault_kind::status, 500},
                                                           {fault_kind::status, 503},
                                                           {fault_kind::status, 429},
                                                           {fault_kind::changed_etag, 0},
                                                           {fault_kind::weak_etag, 0},
                                                           {fault_kind::no_etag, 0},
                                                           {fault_kind::gzip, 0}};
    sourced t;
    range_source& s = t.open("/blob");
    ASSERT_TRUE(probe(s));
    for (const auto& [kind, amount] : faults) {
        SCOPED_TRACE(static_cast<int>(kind));
        t.o.clear_log();
        t.o.add_fault(fault_of(kind, amount));
        EXPECT_EQ(read(s, 1000, 100'000), t.part(1000, 100'000));
        EXPECT_EQ(t.o.count(), 2u);
    }
}

TEST(range_source, right_but_unusual_answers_cost_nothing) {
    sourced t;
    range_source& s = t.open("/blob");
    for (const fault_kind kind : {fault_kind::chunked, fault_kind::interim, fault_kind::close}) {
        t.o.add_fault(fault_of(kind));
        EXPECT_EQ(read(s, 1000, 100'000), t.part(1000, 100'000));
    }
    EXPECT_EQ(t.o.count(), 3u);
}

TEST(range_source, wrong_answers_are_asked_again_so_many_times_and_not_more) {
    sourced t;
    range_source& s = t.open("/blob");
    ASSERT_TRUE(probe(s));
    const std::tuple<fault_kind, std::uint64_t, const char*> faults[] = {
        {fault_kind::whole_answer, 0, "[permanent: "},   {fault_kind::shifted_range, 0, "[corrupt: "},
        {fault_kind::no_content_range, 0, "[corrupt: "}, {fault_kind::wrong_total, 0, "[corrupt: "},
        {fault_kind::changed_etag, 0, "[corrupt: "},     {fault_kind::gzip, 0, "[corrupt: "},
        {fault_kind::long_body, 3, "[corrupt: "},        {fault_kind::range_refused, 0, "[corrupt: "}};
    for (const auto& [kind, amount, text] : faults) {
        SCOPED_TRACE(static_cast<int>(kind));
        t.o.clear_log();
        t.o.clear_faults();
        t.o.add_fault(fault_of(kind, amount, always));
        EXPECT_EQ(read(s, 0, 1000).substr(0, std::string_view(text).size()), text);
        EXPECT_EQ(t.o.count(), quick().most_refusals);
    }
    t.o.clear_faults();
    EXPECT_EQ(read(s, 0, 1000), t.part(0, 1000));
}

TEST(range_source, a_changed_blob_is_never_mixed_with_what_it_was) {
    sourced t;
    range_source& s = t.open("/blob");
    ASSERT_TRUE(probe(s));
    t.o.add_file("/blob", random_bytes(t.blob.size(), 2));
    const std::string text = read(s, 0, 1000);
    EXPECT_TRUE(text.starts_with("[corrupt: GET " + t.o.url("/blob") + ": changed on the server: its ETag was "))
        << text;
}

TEST(range_source, without_a_pinned_etag_only_the_size_counts) {
    sourced t;
    range_source_options o = quick();
    o.pin_etag = false;
    range_source& s = t.open("/blob", o);
    ASSERT_TRUE(probe(s));
    t.o.add_fault(fault_of(fault_kind::changed_etag));
    EXPECT_EQ(read(s, 0, 1000), t.part(0, 1000));
    EXPECT_EQ(t.o.count(), 2u);
}

TEST(range_source, a_size_from_elsewhere_is_held_against_the_answers) {
    sourced t;
    range_source& s = t.open("/blob");
    s.set_known({t.blob.size() + 1, ""});
    EXPECT_NE(read(s, 0, 10).find("its size was 200001 and is 200000"), std::string::npos);
}

TEST(range_source, other_4xx_are_not_asked_again) {
    sourced t;
    range_source& s = t.open("/blob");
    for (const std::uint64_t code : {400u, 401u, 403u, 404u, 405u, 410u, 451u}) {
        t.o.clear_log();
        t.o.add_fault(fault_of(fault_kind::status, code));
        EXPECT_NE(read(s, 0, 10).find("the server answered " + std::to_string(code)), std::string::npos);
        EXPECT_EQ(t.o.count(), 1u);
    }
}

TEST(range_source, the_deadline_ends_a_read_and_says_what_went_wrong_last) {
    sourced t;
    range_source& s = t.open("/blob");
    t.o.add_fault(fault_of(fault_kind::status, 503, always));
    EXPECT_EQ(read(s, 0, 10, in(100ms)), "[timeout: given up at the deadline: GET " + t.o.url("/blob") +
                                             ": the server answered 503 (service unavailable)]");
    t.o.clear_faults();
    EXPECT_EQ(read(s, 0, 10), t.part(0, 10));
    t.o.add_fault(fault_of(fault_kind::silence));
    EXPECT_EQ(read(s, 0, 10, in(50ms)), "[timeout: GET " + t.o.url("/blob") + ": no answer in time]");
}

TEST(range_source, retry_after_holds_for_all_reads) {
    sourced t;
    range_source& s = t.open("/blob");
    ASSERT_EQ(read(s, 0, 1), t.part(0, 1));
    test::fault busy = fault_of(fault_kind::status, 429);
    busy.retry_after = "1";
    t.o.add_fault(busy);
    t.o.clear_log();
    const auto first = begin(s, 0, 100);
    while (s.stats().retries == 0) std::this_thread::yield();
    const auto second = begin(s, 100, 100);
    ASSERT_TRUE(first->result.get().how);
    ASSERT_TRUE(second->result.get().how);
    const auto log = t.o.log();
    ASSERT_EQ(log.size(), 3u);
    EXPECT_GE(log[1].at - log[0].at, 1s);
    EXPECT_GE(log[2].at - log[0].at, 1s);
}

TEST(range_source, cancel) {
    sourced t;
    range_source& s = t.open("/blob");
    t.o.add_fault(fault_of(fault_kind::stall, 10));
    const auto stuck = begin(s, 0, 1000);
    while (t.o.count() == 0) std::this_thread::yield();
    s.cancel(stuck->number);
    const read_result how = stuck->result.get();
    ASSERT_FALSE(how.how);
    EXPECT_EQ(how.how.error().kind, error_kind::cancelled);
    s.cancel(stuck->number);
    s.cancel(777);
    EXPECT_EQ(read(s, 0, 10), t.part(0, 10));
}

TEST(range_source, the_destructor_ends_reads_wherever_they_are) {
    sourced t(200'000, {.connections_per_host = 2});
    range_source& s = t.open("/blob");
    t.o.add_fault(fault_of(fault_kind::silence, 0, always));
    readings all;
    for (int i = 0; i < 10; ++i) all.push_back(begin(s, 0, 1000));
    while (t.o.count() == 0) std::this_thread::yield();
    t.s.reset();
    for (const auto& r : all) {
        ASSERT_EQ(r->result.wait_for(0s), std::future_status::ready);
        EXPECT_EQ(r->result.get().how.error().kind, error_kind::cancelled);
    }
}

TEST(range_source, the_sinks_error_is_the_reads_and_ends_it) {
    sourced t;
    range_source& s = t.open("/blob");
    std::promise<read_result> done;
    read_request what{.offset = 0, .length = 100'000, .sink = {}};
    what.sink = [](std::uint64_t, std::span<const std::byte>) -> status { return fail(errno_error(ENOSPC, "pwrite")); };
    s.read(std::move(what), [&](read_result how) { done.set_value(std::move(how)); });
    const read_result how = done.get_future().get();
    ASSERT_FALSE(how.how);
    EXPECT_EQ(how.how.error().code, ENOSPC);
    EXPECT_EQ(how.delivered, 0u);
    EXPECT_EQ(t.o.count(), 1u);
}

TEST(range_source, a_read_that_stalls_doesnt_hold_up_others) {
    sourced t;
    range_source_options o = quick();
    o.progress = {1, 1h};
    range_source& s = t.open("/blob", o);
    ASSERT_EQ(read(s, 0, 1), t.part(0, 1));
    t.o.add_fault(fault_of(fault_kind::stall, 10));
    const auto stuck = begin(s, 0, 1000);
    while (t.o.count() < 2) std::this_thread::yield();
    for (unsigned i = 0; i < 20; ++i) EXPECT_EQ(read(s, i, 1000), t.part(i, 1000));
    EXPECT_EQ(stuck->result.wait_for(0s), std::future_status::timeout);
}

TEST(range_source, reads_go_on_together) {
    sourced t;
    t.o.set_shape({.delay = 20ms});
    range_source& s = t.open("/blob");
    ASSERT_TRUE(probe(s));
    expect_all(begin_all(s, 8), t.blob);
    EXPECT_EQ(t.o.connections(), 8u);
    EXPECT_GE(s.stats().latency, 0us);
}

TEST(range_source, chaos) {
    sourced t(500'000);
    range_source& s = t.open("/blob");
    ASSERT_TRUE(probe(s));
    for (const auto& [kind, amount] : {std::pair{fault_kind::short_body, 5000u},
                                       {fault_kind::reset, 100u},
                                       {fault_kind::drop, 0u},
                                       {fault_kind::status, 503u},
                                       {fault_kind::shifted_range, 0u},
                                       {fault_kind::gzip, 0u},
                                       {fault_kind::empty_body, 0u},
                                       {fault_kind::long_chunks, 9u}})
        t.o.add_fault({.kind = kind, .amount = amount, .times = always, .probability = 0.04});
    unsigned good = 0;
    for (unsigned round = 0; round < 10; ++round) {
        readings all;
        for (unsigned i = 0; i < 20; ++i) all.push_back(begin(s, i * 20'000 + round, 20'000));
        for (unsigned i = 0; i < 20; ++i) {
            const read_result how = all[i]->result.get();
            // A right prefix, always; and no error but one of several wrong answers in a row.
            EXPECT_EQ(all[i]->bytes, t.part(i * 20'000 + round, all[i]->bytes.size()));
            if (how.how) {
                EXPECT_EQ(all[i]->bytes.size(), 20'000u);
                ++good;
            } else {
                EXPECT_EQ(how.how.error().kind, error_kind::corrupt);
            }
        }
    }
    EXPECT_GE(good, 190u);
    EXPECT_LE(t.o.count(), 500u);
}

}  // namespace
}  // namespace nerofs::source
