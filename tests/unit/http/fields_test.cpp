#include "http/fields.h"

#include <gtest/gtest.h>

#include <chrono>

namespace nerofs::http {
namespace {

using namespace std::chrono_literals;
using range = content_range;

TEST(fields, names_are_found_in_any_case_and_repeated_ones_are_kept) {
    fields f;
    f.add("ETag", "\"a\"");
    f.add("X", "1");
    f.add("x", "2");
    ASSERT_TRUE(f.find("etag"));
    EXPECT_EQ(*f.find("etag"), "\"a\"");
    EXPECT_EQ(*f.find("X"), "1");
    EXPECT_EQ(f.count("X"), 2u);
    EXPECT_EQ(f.find_all("x"), (std::vector<std::string>{"1", "2"}));
    EXPECT_FALSE(f.find("y"));
}

TEST(fields, lines) {
    const auto f = parse_field_line("Content-Length:  12 \r\n");
    ASSERT_TRUE(f);
    EXPECT_EQ(f->name, "Content-Length");
    EXPECT_EQ(f->value, "12");
    EXPECT_TRUE(parse_field_line("A:"));
    for (const char* line : {"", "A", ": x", " A: x", "A : x", "HTTP/1.1 200 OK"})
        EXPECT_FALSE(parse_field_line(line)) << line;
}

TEST(fields, numbers) {
    EXPECT_EQ(parse_number("0"), 0u);
    EXPECT_EQ(parse_number("18446744073709551615"), UINT64_MAX);
    for (const char* text : {"", "-1", "+1", " 1", "1 ", "0x1", "18446744073709551616", "1,1"})
        EXPECT_FALSE(parse_number(text)) << text;
}

TEST(content_range, forms) {
    EXPECT_EQ(parse_content_range("bytes 0-99/1000"), (range{range::span{0, 99}, 1000}));
    EXPECT_EQ(parse_content_range(" Bytes 5-5/6 "), (range{range::span{5, 5}, 6}));
    EXPECT_EQ(parse_content_range("bytes 0-99/*"), (range{range::span{0, 99}, std::nullopt}));
    EXPECT_EQ(parse_content_range("bytes */0"), (range{std::nullopt, 0}));
    EXPECT_EQ(parse_content_range("bytes 0-18446744073709551614/18446744073709551615"),
              (range{range::span{0, UINT64_MAX - 1}, UINT64_MAX}));
}

TEST(content_range, refused) {
    for (const char* text :
         {"", "bytes", "bytes ", "bytes=0-1/2", "items 0-1/2", "bytes 1-0/2", "bytes 0-2/2", "bytes 0-1/", "bytes 0-1",
          "bytes 0-/2", "bytes -1/2", "bytes */*", "bytes 0-1/2x", "bytes 0-1/2, bytes 3-4/5", "bytes 0-1 /2",
          "bytes 0--1/2", "bytes +0-1/2", "bytes 0-18446744073709551616/*", "bytes0-1/2"})
        EXPECT_FALSE(parse_content_range(text)) << text;
}

TEST(etag, only_strong_ones_prove_anything) {
    EXPECT_EQ(strong_etag("\"abc\""), "\"abc\"");
    EXPECT_EQ(strong_etag(" \"\" "), "\"\"");
    for (const char* text : {"", "abc", "W/\"abc\"", "\"abc", "\"a\"b\"", "\"", "\"a b\"", "\"a\nb\""})
        EXPECT_EQ(strong_etag(text), "") << text;
    EXPECT_EQ(strong_etag("\"" + std::string(2000, 'x') + "\""), "");
}

// Tue, 15 Nov 1994 12:45:26 GMT
constexpr std::chrono::sys_seconds moment{784903526s};

TEST(http_date, three_forms) {
    EXPECT_EQ(parse_http_date("Tue, 15 Nov 1994 12:45:26 GMT"), moment);
    EXPECT_EQ(parse_http_date("Tuesday, 15-Nov-94 12:45:26 GMT"), moment);
    EXPECT_EQ(parse_http_date("Tue Nov 15 12:45:26 1994"), moment);
    EXPECT_EQ(parse_http_date("Sun Nov  6 08:49:37 1994"), std::chrono::sys_seconds{784111777s});
}

TEST(http_date, refused) {
    for (const char* text :
         {"", "Tue", "Tue, ", "Tue, 15 Nov 1994 12:45:26", "Tue, 15 Nov 1994 12:45:26 CET",
          "Tue, 31 Feb 1994 12:45:26 GMT", "Tue, 15 Nov 1994 24:45:26 GMT", "Tue, -5 Nov 1994 12:45:26 GMT",
          "Tue, 15 Nob 1994 12:45:26 GMT", "Tue, 15 Nov 0000 12:45:26 GMT", "15 Nov 1994 12:45:26 GMT"})
        EXPECT_FALSE(parse_http_date(text)) << text;
}

TEST(retry_after, seconds_and_dates) {
    EXPECT_EQ(parse_retry_after("0", moment), 0s);
    EXPECT_EQ(parse_retry_after("120", moment), 120s);
    EXPECT_EQ(parse_retry_after("Tue, 15 Nov 1994 12:45:36 GMT", moment), 10s);
    EXPECT_EQ(parse_retry_after("Tue, 15 Nov 1994 12:45:36 GMT", moment + 400ms), 10s);
    EXPECT_EQ(parse_retry_after("Tue, 15 Nov 1994 12:45:16 GMT", moment), 0s);
}

TEST(retry_after, at_most_a_day) {
    EXPECT_EQ(parse_retry_after("1000000", moment), 24h);
    EXPECT_EQ(parse_retry_after("99999999999999999999999999", moment), 24h);
    EXPECT_EQ(parse_retry_after("Tue, 15 Nov 9999 12:45:36 GMT", moment), 24h);
}

TEST(retry_after, refused) {
    for (const char* text : {"", "-1", "1.5", "soon", "1 "}) EXPECT_FALSE(parse_retry_after(text, moment)) << text;
}

TEST(link, the_next_page) {
    EXPECT_EQ(parse_link(R"(</v2/a/tags/list?last=b&n=1>; rel="next")"),
              (std::vector<link>{{"/v2/a/tags/list?last=b&n=1", "next"}}));
    EXPECT_EQ(parse_link(R"(<a>;REL=Next; title="x,>;y" , <b>, <c> ; rel=prev;rel=next)"),
              (std::vector<link>{{"a", "next"}, {"b", ""}, {"c", "prev"}}));
    EXPECT_EQ(parse_link(""), std::vector<link>{});
    EXPECT_EQ(parse_link("<a"), std::vector<link>{});
    EXPECT_EQ(parse_link(R"(<a>, <b>; rel="open)"), (std::vector<link>{{"a", ""}}));
    std::string many;
    for (int i = 0; i < 100; ++i) many += "<a>,";
    EXPECT_EQ(parse_link(many).size(), 32u);
}

}  // namespace
}  // namespace nerofs::http
