// Blobs: their size, their redirects, and what credentials have to do with these.
#include "registry/blob.h"

#include <thread>

#include "support.h"

namespace nerofs::registry {
namespace {

oci::digest digest_in(const std::string& text) {
    return oci::parse_digest(text).value();
}

TEST(blob, of_a_descriptor_asks_nobody_until_it_is_read) {
    registered t;
    const auto s = t.open();
    const auto image = resolve(*s);
    ASSERT_TRUE(image);
    t.o.clear_log();
    const auto blob = open_layer(s, *image);
    ASSERT_TRUE(blob);
    EXPECT_EQ(blob->size, t.blob.size());
    EXPECT_EQ(t.o.log().size(), 0u);
    EXPECT_EQ(read(*blob->source, 12'345, 54'321), t.blob.substr(12'345, 54'321));
    EXPECT_EQ(t.o.log().at(0).path, "/v2/a/b/blobs/" + t.blob_digest);
    EXPECT_TRUE(read(*blob->source, t.blob.size() - 5, 6).starts_with("[usage: "));
}

TEST(blob, of_a_digest_alone_is_asked_for_its_size) {
    registered t;
    t.o.set_auth({.scheme = origin_auth::kind::bearer});
    const auto s = t.open("a/b");
    const auto blob = open_blob(s, digest_in(t.blob_digest), std::nullopt, within(20s));
    ASSERT_TRUE(blob) << blob.error().message();
    EXPECT_EQ(blob->size, t.blob.size());
    EXPECT_EQ(s->secure(), false);
    EXPECT_EQ(read(*blob->source, 99'000, 1000), t.blob.substr(99'000, 1000));
    EXPECT_EQ(t.o.count("/manifests/"), 0u);
}

// A mount that is served again knows the size from its record.
TEST(blob, of_a_known_size_in_a_session_that_has_asked_nothing_yet) {
    registered t;
    const auto s = t.open("a/b");
    const auto blob = open_blob(s, digest_in(t.blob_digest), t.blob.size(), within(20s));
    ASSERT_TRUE(blob) << blob.error().message();
    EXPECT_EQ(s->secure(), false);
    EXPECT_EQ(read(*blob->source, 0, 1000), t.blob.substr(0, 1000));
}

TEST(blob, that_is_empty) {
    registered t;
    const std::string digest = t.o.add_blob("a/b", "");
    const auto blob = open_blob(t.open(), digest_in(digest), std::nullopt, within(20s));
    ASSERT_TRUE(blob) << blob.error().message();
    EXPECT_EQ(blob->size, 0u);
}

TEST(blob, that_is_not_there) {
    registered t;
    const std::string digest = sha256_of("something else");
    expect_error(
        open_blob(t.open(), digest_in(digest), std::nullopt, within(20s)), error_kind::not_found,
        "image '" + t.o.host() + "/a/b:1': blob " + digest + ": the registry has no such blob in this repository");
}

TEST(blob, that_comes_only_whole) {
    registered t;
    t.o.add_fault({.kind = fault_kind::whole_answer, .path_part = "/blobs/", .times = always});
    expect_error(open_blob(t.open(), digest_in(t.blob_digest), std::nullopt, within(20s)), error_kind::unsupported,
                 "image '" + t.o.host() + "/a/b:1': blob " + t.blob_digest +
                     ": the registry gives it only as a whole, not in ranges",
                 "copy the image to this machine, for example with skopeo");
}

TEST(blob, without_access) {
    registered t;
    t.o.set_auth({.scheme = origin_auth::kind::basic, .user = "u", .password = "p"});
    const auto blob = open_blob(t.open(), digest_in(t.blob_digest), std::nullopt, within(20s));
    ASSERT_FALSE(blob);
    EXPECT_EQ(blob.error().kind, error_kind::auth);
    EXPECT_TRUE(blob.error().text.starts_with("image '" + t.o.host() + "/a/b:1': blob " + t.blob_digest +
                                              ": the registry refuses access, asked without credentials"))
        << blob.error().text;
}

TEST(blob, deadline_and_stop_end_the_question_for_the_size) {
    registered t;
    t.o.add_fault({.kind = fault_kind::silence, .path_part = "/blobs/", .times = always});
    const auto s = t.open();
    const auto late = open_blob(s, digest_in(t.blob_digest), std::nullopt, within(2000ms));
    ASSERT_FALSE(late);
    EXPECT_EQ(late.error().kind, error_kind::timeout);
    std::stop_source stop;
    std::jthread stopper([&] {
        EXPECT_TRUE(soon([&] { return t.o.count("/blobs/") >= 2; }));
        stop.request_stop();
    });
    const auto stopped = open_blob(s, digest_in(t.blob_digest), std::nullopt, within(60s, stop.get_token()));
    ASSERT_FALSE(stopped);
    EXPECT_EQ(stopped.error().kind, error_kind::cancelled);
}

TEST(blob, etags_that_change_do_no_harm) {
    registered t;
    const auto s = t.open();
    const auto blob = open_blob(s, digest_in(t.blob_digest), std::nullopt, within(20s));
    ASSERT_TRUE(blob);
    t.o.add_fault({.kind = fault_kind::changed_etag, .path_part = "/blobs/", .times = always});
    EXPECT_EQ(read(*blob->source, 0, 1000), t.blob.substr(0, 1000));
    EXPECT_EQ(read(*blob->source, 5000, 1000), t.blob.substr(5000, 1000));
}

// ---- redirects to storage ----

// The storage refuses whoever comes with two proofs at once; that none comes is asserted besides.
void expect_no_secret_in_storage(const origin& o) {
    std::size_t seen = 0;
    for (const auto& r : o.log()) {
        if (!r.storage) continue;
        ++seen;
        EXPECT_EQ(r.header("authorization"), "");
        EXPECT_EQ(r.header("cookie"), "");
    }
    EXPECT_GT(seen, 0u);
}

TEST(redirects, of_blobs_carry_no_credentials) {
    for (const auto scheme : {origin_auth::kind::basic, origin_auth::kind::bearer}) {
        registered t;
        t.o.set_auth({.scheme = scheme, .user = "me", .password = "word"});
        t.o.set_redirects({.on = true});
        const auto s = t.open("a/b:1", password("me", "word"));
        const auto image = resolve(*s);
        ASSERT_TRUE(image) << image.error().message();
        const auto blob = open_layer(s, *image);
        for (std::uint64_t i = 0; i < 20; ++i)
            ASSERT_EQ(read(*blob->source, i * 1000, 1000), t.blob.substr(i * 1000, 1000));
        expect_no_secret_in_storage(t.o);
        EXPECT_EQ(t.o.count("/blobs/"), 1u);  // the way is remembered
    }
}

TEST(redirects, of_blobs_to_another_machine_that_asks_for_a_login_get_none) {
    registered t;
    origin elsewhere;
    elsewhere.set_auth({.scheme = origin_auth::kind::basic, .user = "me", .password = "word"});
    t.o.set_auth({.scheme = origin_auth::kind::basic, .user = "me", .password = "word"});
    const auto s = t.open("a/b:1", password("me", "word"));
    const auto image = resolve(*s);
    ASSERT_TRUE(image);
    t.o.add_fault({.kind = fault_kind::status,
                   .amount = 307,
                   .path_part = "/blobs/",
                   .times = always,
                   .location = elsewhere.url("/kept")});
    const auto blob = open_layer(s, *image);
    EXPECT_TRUE(read(*blob->source, 0, 10).starts_with("[auth: "));
    EXPECT_GT(elsewhere.log().size(), 0u);
    for (const auto& r : elsewhere.log()) EXPECT_EQ(r.header("authorization"), "");
}

TEST(redirects, that_end_after_two_seconds_are_renewed_while_many_read) {
    registered t;
    t.o.set_auth({.scheme = origin_auth::kind::bearer, .token_life = 2s});
    t.o.set_redirects({.on = true, .life = 2s});
    const auto s = t.open();
    const auto image = resolve(*s);
    ASSERT_TRUE(image);
    const auto blob = open_layer(s, *image);
    const auto end = std::chrono::steady_clock::now() + 5s;
    while (std::chrono::steady_clock::now() < end) {
        expect_all(begin_all(*blob->source, 8, 5000), t.blob);
    }
    expect_no_secret_in_storage(t.o);
    EXPECT_GE(t.o.count("/blobs/"), 3u);
    EXPECT_LE(t.o.count("/blobs/"), 8u);  // each may meet an ended token first
}

}  // namespace
}  // namespace nerofs::registry
