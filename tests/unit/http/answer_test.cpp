#include "http/answer.h"

#include <gtest/gtest.h>

#include <initializer_list>
#include <utility>

namespace nerofs::http {
namespace {

using namespace std::chrono_literals;

constexpr std::chrono::sys_seconds moment{784903526s};

fields head(std::initializer_list<std::pair<const char*, const char*>> all) {
    fields f;
    for (const auto& [name, value] : all) f.add(name, value);
    return f;
}

request range_request(std::optional<std::uint64_t> size = 1000, std::string etag = "\"e\"") {
    request r;
    r.target = parse_url("https://example.com/blob?sig=secret").value();
    r.range = byte_range{100, 199};
    r.known = {size, std::move(etag)};
    return r;
}

verdict of(const request& r, int status, const fields& headers) {
    return judge(r, status, headers, moment);
}

void expect_refused(const verdict& v, error_kind kind, failure_cause cause, std::string_view why) {
    ASSERT_TRUE(v.refusal);
    EXPECT_NE(v.use, body_use::bytes);
    EXPECT_EQ(v.refusal->why.kind, kind);
    EXPECT_EQ(v.refusal->cause, cause);
    EXPECT_EQ(v.refusal->why.text, why);
}

TEST(range_rule, the_very_range) {
    const verdict v = of(range_request(), 206,
                         head({{"Content-Range", "bytes 100-199/1000"}, {"ETag", "\"e\""}, {"Content-Length", "100"}}));
    EXPECT_FALSE(v.refusal);
    EXPECT_EQ(v.use, body_use::bytes);
    EXPECT_EQ(v.first, 100u);
    EXPECT_EQ(v.length, 100u);
    EXPECT_EQ(v.accepted.total, 1000u);
    EXPECT_EQ(v.accepted.etag, "\"e\"");
}

TEST(range_rule, a_range_beyond_the_end_may_be_cut_there_and_nowhere_else) {
    const request r = range_request(std::nullopt, "");
    EXPECT_FALSE(of(r, 206, head({{"Content-Range", "bytes 100-149/150"}})).refusal);
    EXPECT_TRUE(of(r, 206, head({{"Content-Range", "bytes 100-149/151"}})).refusal);
    EXPECT_TRUE(of(r, 206, head({{"Content-Range", "bytes 0-99/100"}})).refusal);
}

TEST(range_rule, another_range_is_refused) {
    for (const char* range : {"bytes 101-200/1000", "bytes 100-198/1000", "bytes 100-200/1000", "bytes 0-99/1000"})
        EXPECT_EQ(of(range_request(1000, ""), 206, head({{"Content-Range", range}})).refusal->why.kind,
                  error_kind::corrupt);
    expect_refused(of(range_request(1000, ""), 206, head({{"Content-Range", "bytes 101-200/1000"}})),
                   error_kind::corrupt, failure_cause::refused, "asked for bytes 100-199 and got 101-200");
}

TEST(range_rule, no_range_two_ranges_malformed_ranges) {
    const request r = range_request(1000, "");
    expect_refused(of(r, 206, head({})), error_kind::corrupt, failure_cause::refused, "206 without Content-Range");
    expect_refused(of(r, 206, head({{"Content-Range", "bytes 100-199/1000"}, {"content-range", "bytes 100-199/1000"}})),
                   error_kind::corrupt, failure_cause::refused, "206 with several Content-Range");
    expect_refused(of(r, 206, head({{"Content-Range", "bytes */1000"}})), error_kind::corrupt, failure_cause::refused,
                   "206 with a malformed Content-Range");
    expect_refused(of(r, 206, head({{"Content-Range", "bytes 100-199/*"}})), error_kind::corrupt,
                   failure_cause::refused, "206 with a Content-Range without total");
    expect_refused(
        of(r, 206,
           head({{"Content-Range", "bytes 100-199/1000"}, {"Content-Type", "Multipart/byteranges; boundary=x"}})),
        error_kind::corrupt, failure_cause::refused, "several parts in answer to one range");
}

TEST(range_rule, an_encoding_is_refused) {
    expect_refused(of(range_request(), 206,
                      head({{"Content-Range", "bytes 100-199/1000"}, {"ETag", "\"e\""}, {"Content-Encoding", "gzip"}})),
                   error_kind::corrupt, failure_cause::refused,
                   "the answer is encoded though nothing asked for it (gzip)");
    EXPECT_FALSE(
        of(range_request(), 206,
           head({{"Content-Range", "bytes 100-199/1000"}, {"ETag", "\"e\""}, {"Content-Encoding", "Identity"}}))
            .refusal);
}

TEST(range_rule, a_whole_answer_is_refused_and_tells_its_size) {
    const verdict v = of(range_request(), 200, head({{"Content-Length", "1000"}, {"ETag", "\"e\""}}));
    expect_refused(v, error_kind::permanent, failure_cause::refused,
                   "the server answered a range with 200: it gives only the whole");
    EXPECT_EQ(v.use, body_use::none);
    EXPECT_EQ(v.refusal->total, 1000u);
    EXPECT_TRUE(of(range_request(), 204, head({})).refusal);
}

TEST(range_rule, another_size_or_etag_is_a_change) {
    expect_refused(of(range_request(), 206, head({{"Content-Range", "bytes 100-199/1001"}, {"ETag", "\"e\""}})),
                   error_kind::corrupt, failure_cause::changed, "changed on the server: its size was 1000 and is 1001");
    expect_refused(of(range_request(), 206, head({{"Content-Range", "bytes 100-199/1000"}, {"ETag", "\"f\""}})),
                   error_kind::corrupt, failure_cause::changed,
                   "changed on the server: its ETag was \"e\" and is \"f\"");
    for (const char* weak : {"W/\"e\"", "e", ""})
        expect_refused(of(range_request(), 206, head({{"Content-Range", "bytes 100-199/1000"}, {"ETag", weak}})),
                       error_kind::corrupt, failure_cause::changed,
                       "changed on the server: its ETag was \"e\" and is missing or weak");
    EXPECT_EQ(
        of(range_request(), 206, head({{"Content-Range", "bytes 100-199/1000"}, {"ETag", "\"e\""}, {"ETag", "\"f\""}}))
            .refusal->cause,
        failure_cause::changed);
}

TEST(range_rule, a_body_announced_longer_than_its_range_is_refused) {
    expect_refused(of(range_request(), 206,
                      head({{"Content-Range", "bytes 100-199/1000"}, {"ETag", "\"e\""}, {"Content-Length", "101"}})),
                   error_kind::corrupt, failure_cause::refused,
                   "the body of 101 bytes isn't as long as the range of 100");
}

TEST(whole_answer, is_taken_when_it_was_asked_for) {
    request r = range_request(std::nullopt, "");
    r.range.reset();
    const verdict v = of(r, 200, head({{"Content-Length", "12"}}));
    EXPECT_FALSE(v.refusal);
    EXPECT_EQ(v.length, 12u);
    EXPECT_EQ(v.first, 0u);
    EXPECT_TRUE(of(r, 206, head({{"Content-Range", "bytes 0-99/1000"}})).refusal);
    EXPECT_TRUE(of(r, 200, head({{"Content-Length", "x"}})).refusal);
    EXPECT_FALSE(of(r, 201, head({})).refusal);
}

TEST(whole_answer, into_a_sink_must_agree_with_what_is_known) {
    request r = range_request();
    r.range.reset();
    r.sink = [](std::uint64_t, std::span<const std::byte>) -> status { return {}; };
    EXPECT_FALSE(of(r, 200, head({{"Content-Length", "1000"}, {"ETag", "\"e\""}})).refusal);
    EXPECT_EQ(of(r, 200, head({{"Content-Length", "999"}, {"ETag", "\"e\""}})).refusal->cause, failure_cause::changed);
    EXPECT_EQ(of(r, 200, head({{"ETag", "\"e\""}})).length, 1000u);
    EXPECT_TRUE(of(r, 203, head({{"ETag", "\"e\""}})).refusal);
}

TEST(whole_answer, larger_than_its_cap_is_refused) {
    request r = range_request();
    r.range.reset();
    r.most_body_bytes = 10;
    expect_refused(of(r, 200, head({{"Content-Length", "11"}})), error_kind::corrupt, failure_cause::refused,
                   "the answer of 11 bytes is larger than 10");
    r.verb = method::head;
    EXPECT_FALSE(of(r, 200, head({{"Content-Length", "11"}})).refusal);
}

TEST(redirect, tells_where_to) {
    for (const int code : {301, 302, 303, 307, 308}) {
        const verdict v = of(range_request(), code, head({{"Location", "/other?x=1"}}));
        EXPECT_FALSE(v.refusal);
        EXPECT_EQ(v.use, body_use::discard);
        ASSERT_TRUE(v.accepted.location);
        EXPECT_EQ(v.accepted.location->text(), "https://example.com/other?x=1");
    }
}

TEST(redirect, useless_ones) {
    expect_refused(of(range_request(), 302, head({})), error_kind::permanent, failure_cause::status,
                   "the server answered 302 without a Location");
    expect_refused(of(range_request(), 304, head({{"Location", "/x"}})), error_kind::permanent, failure_cause::status,
                   "the server answered 304");
    expect_refused(of(range_request(), 302, head({{"Location", "ftp://x/"}})), error_kind::corrupt,
                   failure_cause::refused, "the answer's Location can't be used: not an http or https URL");
}

TEST(failed_status, kinds) {
    const std::pair<int, error_kind> kinds[] = {
        {400, error_kind::permanent}, {401, error_kind::auth},      {403, error_kind::auth},
        {404, error_kind::not_found}, {405, error_kind::permanent}, {408, error_kind::retryable},
        {410, error_kind::not_found}, {416, error_kind::corrupt},   {429, error_kind::retryable},
        {500, error_kind::retryable}, {501, error_kind::permanent}, {502, error_kind::retryable},
        {503, error_kind::retryable}, {504, error_kind::retryable}, {599, error_kind::retryable},
        {999, error_kind::retryable}};
    for (const auto& [code, kind] : kinds) {
        const verdict v = of(range_request(), code, head({}));
        ASSERT_TRUE(v.refusal);
        EXPECT_EQ(v.refusal->why.kind, kind) << code;
        EXPECT_EQ(v.refusal->status, code);
        EXPECT_EQ(v.use, body_use::discard);
    }
}

TEST(failed_status, carries_what_to_do) {
    const verdict busy = of(range_request(), 429, head({{"Retry-After", "7"}}));
    EXPECT_EQ(busy.refusal->retry_after, 7s);
    const verdict who =
        of(range_request(), 401, head({{"WWW-Authenticate", "Basic realm=a"}, {"www-authenticate", "Bearer realm=b"}}));
    EXPECT_EQ(who.refusal->challenges, (std::vector<std::string>{"Basic realm=a", "Bearer realm=b"}));
    EXPECT_EQ(of(range_request(), 416, head({{"Content-Range", "bytes */0"}})).refusal->total, 0u);
}

TEST(odd_status, below_200_is_refused) {
    EXPECT_TRUE(of(range_request(), 101, head({})).refusal);
    EXPECT_TRUE(of(range_request(), 0, head({})).refusal);
}

}  // namespace
}  // namespace nerofs::http
