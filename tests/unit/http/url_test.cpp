#include "http/url.h"

#include <gtest/gtest.h>

#include <string>

namespace nerofs::http {
namespace {

std::string parsed(std::string_view text) {
    const auto u = parse_url(text);
    return u ? u->text() : "refused: " + u.error().text;
}

std::string resolved(std::string_view base, std::string_view reference) {
    const auto u = resolve(parse_url(base).value(), reference);
    if (!u) {
        EXPECT_EQ(u.error().kind, error_kind::corrupt);
    }
    return u ? u->text() : "refused";
}

TEST(url, parts) {
    const url u = parse_url("HTTPS://Registry.Example.COM:8443/v2/a%2Fb?x=1&y=%20#frag").value();
    EXPECT_TRUE(u.secure);
    EXPECT_EQ(u.host, "registry.example.com");
    EXPECT_EQ(u.port, 8443);
    EXPECT_EQ(u.target, "/v2/a%2Fb?x=1&y=%20");
    EXPECT_EQ(u.origin(), "https://registry.example.com:8443");
    EXPECT_EQ(u.text(), "https://registry.example.com:8443/v2/a%2Fb?x=1&y=%20");
}

TEST(url, the_port_of_the_scheme_is_left_out) {
    EXPECT_EQ(parsed("http://a:80/x"), "http://a/x");
    EXPECT_EQ(parsed("https://a:443"), "https://a/");
    EXPECT_EQ(parsed("https://a:80"), "https://a:80/");
    EXPECT_EQ(parse_url("http://a").value().origin(), "http://a:80");
}

TEST(url, a_query_without_a_path_gets_one) {
    EXPECT_EQ(parsed("http://a?x=/y"), "http://a/?x=/y");
}

TEST(url, escapes_are_kept_as_they_are_since_signatures_are_over_them) {
    EXPECT_EQ(parsed("http://a/%2f%2F?s=a%2bB%2B"), "http://a/%2f%2F?s=a%2bB%2B");
}

TEST(url, dots_in_the_path_are_resolved_and_those_in_the_query_are_not) {
    EXPECT_EQ(parsed("http://a/b/../c/./d?e=/../f"), "http://a/c/d?e=/../f");
    EXPECT_EQ(parsed("http://a/../../b/.."), "http://a/");
    EXPECT_EQ(parsed("http://a//b//"), "http://a//b//");
}

TEST(url, refused) {
    for (const char* text :
         {"", "a", "/a", "ftp://a/", "file:///etc/passwd", "http:/a", "http:a", "http://", "http:///x", "http://:80/",
          "http://a:/", "http://a:0/", "http://a:65536/", "http://a:8x/", "http://a b/", "http://a/b c", "http://a/\n",
          "http://a/\x80", "http://a/%", "http://a/%4", "http://a/%4g", "http://\xc3\xa4/", "http://-a/", "http://.a/",
          "http://[::1/", "http://[::1]x/", "http://[v1.x]/", "http://[::1%25eth0]/", "http://a\\b/", "http://a/\\b",
          // Addresses in spellings that some resolve to 127.0.0.1 and others don't.
          "http://127.1/", "http://2130706433/", "http://0x7f.0.0.1/", "http://0177.0.0.1/", "http://256.0.0.1/",
          "http://1.2.3.4.5/"}) {
        const auto u = parse_url(text);
        EXPECT_FALSE(u) << text;
        if (!u) {
            EXPECT_EQ(u.error().kind, error_kind::usage);
        }
    }
    EXPECT_FALSE(parse_url("http://a/" + std::string(max_url_bytes, 'x')));
}

TEST(url, a_password_is_refused_and_not_repeated) {
    const auto u = parse_url("https://me:s3cret@example.com/");
    ASSERT_FALSE(u);
    EXPECT_EQ(u.error().text, "a URL must not carry a user or a password; give credentials by their own option");
    EXPECT_FALSE(parse_url("https://example.com@evil.example/"));
}

TEST(url, what_is_printed_has_no_query) {
    EXPECT_EQ(parse_url("https://a/b?X-Amz-Signature=1").value().printable(), "https://a/b?...");
    EXPECT_EQ(parse_url("https://a/b").value().printable(), "https://a/b");
}

TEST(url, loopback) {
    for (const char* text :
         {"http://localhost/", "http://LOCALHOST:1/", "http://127.0.0.1/", "http://127.255.0.9/", "http://[::1]:5000/"})
        EXPECT_TRUE(is_loopback(parse_url(text).value())) << text;
    for (const char* text : {"http://localhost.example/", "http://127.example.net/", "http://128.0.0.1/",
                             "http://[::2]/", "http://127.0.0.1.example/", "http://a/"})
        EXPECT_FALSE(is_loopback(parse_url(text).value())) << text;
}

TEST(url, resolve_by_the_examples_of_rfc_3986) {
    const std::string base = "http://a/b/c/d;p?q";
    EXPECT_EQ(resolved(base, "g"), "http://a/b/c/g");
    EXPECT_EQ(resolved(base, "./g"), "http://a/b/c/g");
    EXPECT_EQ(resolved(base, "g/"), "http://a/b/c/g/");
    EXPECT_EQ(resolved(base, "/g"), "http://a/g");
    EXPECT_EQ(resolved(base, "//g"), "http://g/");
    EXPECT_EQ(resolved(base, "?y"), "http://a/b/c/d;p?y");
    EXPECT_EQ(resolved(base, "g?y"), "http://a/b/c/g?y");
    EXPECT_EQ(resolved(base, "#s"), "http://a/b/c/d;p?q");
    EXPECT_EQ(resolved(base, "g;x=1/../y"), "http://a/b/c/y");
    EXPECT_EQ(resolved(base, ""), "http://a/b/c/d;p?q");
    EXPECT_EQ(resolved(base, ".."), "http://a/b/");
    EXPECT_EQ(resolved(base, "../.."), "http://a/");
    EXPECT_EQ(resolved(base, "../../../g"), "http://a/g");
    EXPECT_EQ(resolved(base, "g.."), "http://a/b/c/g..");
    EXPECT_EQ(resolved(base, "g?y/../x"), "http://a/b/c/g?y/../x");
}

TEST(url, resolve_keeps_scheme_and_port) {
    EXPECT_EQ(resolved("https://a:8443/x", "/y?sig=%2F#f"), "https://a:8443/y?sig=%2F");
    EXPECT_EQ(resolved("https://a:8443/x", "//b/y"), "https://b/y");
    EXPECT_EQ(resolved("https://a/x", "HTTP://B:81/y"), "http://b:81/y");
}

TEST(url, resolve_encodes_what_servers_forget) {
    EXPECT_EQ(resolved("http://a/", "/b c\xc3\xa4?d=\"e\""), "http://a/b%20c%C3%A4?d=%22e%22");
}

TEST(url, resolve_refuses_other_schemes_and_control_characters) {
    for (const char* reference : {"file:///etc/passwd", "ftp://a/", "javascript:alert(1)", "http://u:p@b/", "/a\rb",
                                  "http://", "//", "http://a:99999/"})
        EXPECT_EQ(resolved("https://a/x", reference), "refused") << reference;
}

}  // namespace
}  // namespace nerofs::http
