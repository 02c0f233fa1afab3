// The range rule and everything a body can do, over a real connection.
#include "support.h"

namespace nerofs::http {
namespace {

TEST(client_range, the_bytes_asked_for_go_into_the_sink_at_their_offset) {
    served s;
    taken t;
    request r = s.range(1000, 65'999);
    r.sink = t.sink();
    const outcome o = ask(*s.c, std::move(r));
    ASSERT_TRUE(o) << o.error().why.text;
    EXPECT_EQ(o->status, 206);
    EXPECT_EQ(o->delivered, 65'000u);
    EXPECT_EQ(o->total, s.blob.size());
    EXPECT_EQ(t.first, 1000u);
    EXPECT_EQ(t.bytes, s.part(1000, 65'999));
    const auto log = s.o.log();
    ASSERT_EQ(log.size(), 1u);
    EXPECT_EQ(log[0].header("range"), "bytes=1000-65999");
    EXPECT_EQ(log[0].header("accept-encoding"), "");
    EXPECT_EQ(log[0].header("user-agent"), "nerofs");
}

TEST(client_range, without_a_sink_the_bytes_are_the_body) {
    served s;
    const outcome o = ask(*s.c, s.range(5, 9));
    ASSERT_TRUE(o);
    EXPECT_EQ(o->body, s.part(5, 9));
    EXPECT_EQ(o->delivered, 0u);
}

TEST(client_range, a_range_over_the_end_of_a_blob_of_unknown_size_is_cut) {
    served s(100);
    const outcome o = ask(*s.c, s.range(90, 1'000'000));
    ASSERT_TRUE(o);
    EXPECT_EQ(o->body, s.part(90, 99));
    EXPECT_EQ(o->total, 100u);
}

TEST(client_range, chunked_interim_and_closing_answers_are_right_ones) {
    served s;
    for (const fault_kind kind : {fault_kind::chunked, fault_kind::interim, fault_kind::close}) {
        s.o.add_fault(fault_of(kind));
        const outcome o = ask(*s.c, s.range(100, 70'000));
        ASSERT_TRUE(o) << o.error().why.text;
        EXPECT_EQ(o->body, s.part(100, 70'000));
    }
}

struct refused_case {
    fault_kind kind;
    std::uint64_t amount;
    error_kind error;
    failure_cause cause;
    const char* text;
};

// Nothing of a body may reach the sink when the head is wrong.
TEST(client_range, a_wrong_head_is_refused_before_its_body) {
    const refused_case cases[] = {
        {fault_kind::whole_answer, 0, error_kind::permanent, failure_cause::refused,
         "the server answered a range with 200"},
        {fault_kind::shifted_range, 0, error_kind::corrupt, failure_cause::refused,
         "asked for bytes 10-99 and got 11-100"},
        {fault_kind::lied_range, 0, error_kind::corrupt, failure_cause::refused, "asked for bytes 10-99 and got 10-98"},
        {fault_kind::no_content_range, 0, error_kind::corrupt, failure_cause::refused, "206 without Content-Range"},
        {fault_kind::two_content_ranges, 0, error_kind::corrupt, failure_cause::refused, "several Content-Range"},
        {fault_kind::star_total, 0, error_kind::corrupt, failure_cause::refused, "without total"},
        {fault_kind::wrong_total, 0, error_kind::corrupt, failure_cause::changed, "its size was 100000 and is 100001"},
        {fault_kind::multipart, 0, error_kind::corrupt, failure_cause::refused, "several parts"},
        {fault_kind::gzip, 0, error_kind::corrupt, failure_cause::refused,
         "encoded though nothing asked for it (gzip)"},
        {fault_kind::changed_etag, 0, error_kind::corrupt, failure_cause::changed, "its ETag was"},
        {fault_kind::weak_etag, 0, error_kind::corrupt, failure_cause::changed, "missing or weak"},
        {fault_kind::no_etag, 0, error_kind::corrupt, failure_cause::changed, "missing or weak"},
        {fault_kind::long_body, 1, error_kind::corrupt, failure_cause::refused,
         "the body of 91 bytes isn't as long as the range of 90"},
        {fault_kind::short_length, 89, error_kind::corrupt, failure_cause::refused,
         "the body of 89 bytes isn't as long as the range of 90"},
        {fault_kind::empty_body, 0, error_kind::corrupt, failure_cause::refused,
         "the body of 0 bytes isn't as long as the range of 90"},
        {fault_kind::range_refused, 0, error_kind::corrupt, failure_cause::status, "the server answered 416"},
        {fault_kind::garbage, 0, error_kind::corrupt, failure_cause::transport, ""},
        {fault_kind::huge_head, 0, error_kind::corrupt, failure_cause::refused, "the head of the answer is too large"},
        {fault_kind::drop, 0, error_kind::retryable, failure_cause::transport,
         "closed the connection without an answer"},
    };
    served s;
    const std::string etag = ask(*s.c, s.range(0, 0))->etag;
    ASSERT_FALSE(etag.empty());
    for (const refused_case& wrong : cases) {
        SCOPED_TRACE(wrong.text);
        s.o.add_fault(fault_of(wrong.kind, wrong.amount));
        taken t;
        request r = s.range(10, 99);
        r.known = {s.blob.size(), etag};
        r.sink = t.sink();
        const outcome o = ask(*s.c, std::move(r));
        expect_failure(o, wrong.error, wrong.cause, wrong.text);
        EXPECT_EQ(o.error().delivered, 0u);
        EXPECT_EQ(t.bytes, "");
    }
    // And after all that the client is as good as new.
    request r = s.range(10, 99);
    r.known = {s.blob.size(), etag};
    EXPECT_EQ(ask(*s.c, std::move(r))->body, s.part(10, 99));
}

TEST(client_range, the_body_of_a_200_to_a_range_is_not_read) {
    constexpr std::size_t size = 64 * 1024 * 1024;
    served s(size);
    std::promise<std::uint64_t> sent;
    s.o.on_request([&](const test::request_record& r) { sent.set_value(r.body_bytes); });
    s.o.add_fault(fault_of(fault_kind::whole_answer));
    const outcome o = ask(*s.c, s.range(0, 4095));
    expect_failure(o, error_kind::permanent, failure_cause::refused, "it gives only the whole");
    EXPECT_EQ(o.error().total, size);
    EXPECT_LT(sent.get_future().get(), size / 2);  // what fits into the sockets' buffers
}

TEST(client_range, a_short_body_is_retryable_from_where_it_stopped) {
    served s;
    for (const fault_kind kind : {fault_kind::short_body, fault_kind::reset, fault_kind::broken_chunks}) {
        SCOPED_TRACE(static_cast<int>(kind));
        s.o.add_fault(fault_of(kind, 30'000));
        taken t;
        request r = s.range(500, 80'499);
        r.sink = t.sink();
        const outcome o = ask(*s.c, std::move(r));
        expect_failure(o, error_kind::retryable, failure_cause::short_body, "");
        EXPECT_EQ(o.error().status, 206);
        // A reset may overtake what was sent before it; the other ends may not.
        if (kind != fault_kind::reset) {
            EXPECT_EQ(o.error().delivered, 30'000u) << o.error().why.text;
        }
        EXPECT_EQ(o.error().delivered, t.bytes.size());
        EXPECT_EQ(t.bytes, s.blob.substr(500, t.bytes.size()));
    }
}

TEST(client_range, a_chunked_body_that_goes_on_is_corrupt_and_nothing_beyond_the_range_is_delivered) {
    served s;
    s.o.add_fault(fault_of(fault_kind::long_chunks, 1));
    taken t;
    request r = s.range(0, 99'998);
    r.sink = t.sink();
    const outcome o = ask(*s.c, std::move(r));
    expect_failure(o, error_kind::corrupt, failure_cause::refused, "the body is longer than its 99999 bytes");
    EXPECT_LE(t.bytes.size(), 99'999u);
    EXPECT_EQ(t.bytes, s.blob.substr(0, t.bytes.size()));
}

TEST(client_range, a_stalled_body_is_given_up_and_says_how_far_it_came) {
    served s;
    s.o.add_fault(fault_of(fault_kind::stall, 40'000));
    taken t;
    request r = s.range(0, 99'999);
    r.sink = t.sink();
    r.progress = {1, 100ms};
    const outcome o = ask(*s.c, std::move(r));
    expect_failure(o, error_kind::retryable, failure_cause::short_body, "stalled: 0 bytes in 100 ms");
    EXPECT_EQ(o.error().delivered, 40'000u);
    EXPECT_EQ(t.bytes, s.part(0, 39'999));
}

TEST(client_range, a_body_slower_than_the_limit_is_given_up) {
    served s(1'000'000);
    s.o.set_shape({.connection_bytes_per_second = 20'000});
    request r = s.range(0, 999'999);
    r.progress = {100'000, 200ms};
    expect_failure(ask(*s.c, std::move(r)), error_kind::retryable, failure_cause::short_body, "stalled: ");
}

TEST(client_range, silence_is_a_stall) {
    served s;
    s.o.add_fault(fault_of(fault_kind::silence));
    request r = s.range(0, 9);
    r.progress = {1, 100ms};
    expect_failure(ask(*s.c, std::move(r)), error_kind::retryable, failure_cause::transport,
                   "stalled: 0 bytes in 100 ms");
}

TEST(client_range, the_sinks_error_ends_the_transfer_and_is_the_result) {
    served s;
    std::uint64_t calls = 0;
    request r = s.range(0, 99'999);
    r.sink = [&](std::uint64_t, std::span<const std::byte>) -> status {
        ++calls;
        return fail(errno_error(ENOSPC, "write"));
    };
    const outcome o = ask(*s.c, std::move(r));
    ASSERT_FALSE(o);
    EXPECT_EQ(o.error().why.code, ENOSPC);
    EXPECT_EQ(o.error().cause, failure_cause::caller);
    EXPECT_EQ(calls, 1u);
    EXPECT_EQ(o.error().delivered, 0u);
}

TEST(client_range, an_empty_range_is_refused_at_once) {
    served s;
    expect_failure(ask(*s.c, s.range(10, 9)), error_kind::usage, failure_cause::caller, "the range is empty");
    EXPECT_EQ(s.o.count(), 0u);
}

}  // namespace
}  // namespace nerofs::http
