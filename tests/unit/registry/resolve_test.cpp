// From a name to a manifest: indexes, digests, hostile and failing registries.
#include <thread>

#include "support.h"

namespace nerofs::registry {
namespace {

TEST(resolve, a_manifest_by_tag) {
    registered t;
    const auto found = t.resolve();
    ASSERT_TRUE(found) << found.error().message();
    EXPECT_EQ(found->digest.to_string(), t.manifest_digest);
    EXPECT_EQ(to_string(found->image), t.o.host() + "/a/b:1@" + t.manifest_digest);
    EXPECT_EQ(found->index, std::nullopt);
    EXPECT_EQ(found->manifest.media_type, oci_manifest);
    EXPECT_EQ(found->manifest.config->digest.to_string(), sha256_of("{}"));
    ASSERT_EQ(found->manifest.layers.size(), 1u);
    EXPECT_EQ(found->manifest.layers[0].blob.digest.to_string(), t.blob_digest);
    EXPECT_EQ(found->manifest.layers[0].blob.size, t.blob.size());
    const auto log = t.o.log();
    ASSERT_EQ(log.size(), 1u);
    EXPECT_EQ(log[0].path, "/v2/a/b/manifests/1");
    EXPECT_NE(log[0].header("accept").find(oci_index), std::string::npos);
    EXPECT_EQ(log[0].header("authorization"), "");
}

TEST(resolve, a_manifest_by_digest) {
    registered t;
    const auto found = t.resolve("a/b@" + t.manifest_digest);
    ASSERT_TRUE(found) << found.error().message();
    EXPECT_EQ(found->digest.to_string(), t.manifest_digest);
    EXPECT_EQ(t.o.log()[0].path, "/v2/a/b/manifests/" + t.manifest_digest);
}

TEST(resolve, an_index_leads_to_the_manifest_of_the_platform) {
    registered t;
    const std::string arm_layer = t.o.add_blob("a/b", random_bytes(1000, 7));
    const std::string arm = manifest_of(arm_layer, 1000);
    t.o.add_manifest("a/b", "", std::string(oci_manifest), arm);
    const std::string index = index_of(
        {{arm, R"({"os":"linux","architecture":"arm64"})"}, {t.manifest, R"({"os":"linux","architecture":"amd64"})"}});
    const std::string index_digest = t.o.add_manifest("a/b", "many", std::string(oci_index), index);

    const auto amd = t.resolve("a/b:many");
    ASSERT_TRUE(amd) << amd.error().message();
    EXPECT_EQ(amd->digest.to_string(), t.manifest_digest);
    EXPECT_EQ(amd->index->to_string(), index_digest);
    EXPECT_EQ(amd->image.digest, t.manifest_digest);
    const auto s = t.open("a/b:many");
    const auto other = resolve(*s, {"linux", "arm64", {}, {}, {}}, within(20s));
    ASSERT_TRUE(other) << other.error().message();
    EXPECT_EQ(other->manifest.layers[0].blob.digest.to_string(), arm_layer);

    const auto none = resolve(*s, {"linux", "riscv64", {}, {}, {}}, within(20s));
    ASSERT_FALSE(none);
    EXPECT_EQ(none.error().kind, error_kind::not_found);
    EXPECT_NE(none.error().text.find("linux/arm64"), std::string::npos) << none.error().text;
}

TEST(resolve, an_index_within_an_index_and_no_deeper_than_allowed) {
    registered t;
    const std::string platform = R"({"os":"linux","architecture":"amd64"})";
    index_entry inner{t.manifest, platform};
    for (std::size_t depth = 1; depth <= oci::index_depth_cap + 1; ++depth) {
        const std::string bytes = index_of({inner});
        t.o.add_manifest("a/b", "depth" + std::to_string(depth), std::string(oci_index), bytes);
        inner = {bytes, platform, std::string(oci_index)};
    }
    const auto deepest = t.resolve("a/b:depth" + std::to_string(oci::index_depth_cap));
    ASSERT_TRUE(deepest) << deepest.error().message();
    EXPECT_EQ(deepest->digest.to_string(), t.manifest_digest);
    expect_error(t.resolve("a/b:depth" + std::to_string(oci::index_depth_cap + 1)), error_kind::corrupt,
                 "image '" + t.o.host() + "/a/b:depth5': indexes lie in indexes without end");
}

TEST(resolve, a_manifest_that_is_an_index_to_its_index_is_refused) {
    registered t;
    const std::string index =
        index_of({{t.manifest, R"({"os":"linux","architecture":"amd64"})", "application/vnd.oci.image.index.v1+json"}});
    t.o.add_manifest("a/b", "odd", std::string(oci_index), index);
    expect_error(t.resolve("a/b:odd"), error_kind::corrupt,
                 "image '" + t.o.host() + "/a/b:odd': manifest " + t.manifest_digest + ": is " +
                     std::string(oci_manifest) + ", but its index says " + std::string(oci_index));
}

// ---- bytes that aren't the ones named ----

// From now on another manifest, as long and as good, comes for names with this in them; returns its digest.
std::string swap_manifest(registered& t, const std::string& name_part) {
    std::string other = t.manifest;
    other.replace(other.find(t.blob_digest), t.blob_digest.size(), sha256_of("another"));
    t.o.add_file("/other", other, std::string(oci_manifest));
    t.o.add_fault({.kind = fault_kind::status,
                   .amount = 307,
                   .path_part = "/manifests/" + name_part,
                   .times = always,
                   .location = t.o.url("/other")});
    return sha256_of(other);
}

TEST(resolve, a_manifest_with_another_digest_than_asked_for_is_refused) {
    registered t;
    const std::string other = swap_manifest(t, "");
    expect_error(t.resolve("a/b@" + t.manifest_digest), error_kind::corrupt,
                 "image '" + t.o.host() + "/a/b@" + t.manifest_digest + "': manifest: its digest is " + other +
                     ", but must be " + t.manifest_digest);
}

TEST(resolve, a_manifest_with_another_digest_than_its_index_says_is_refused) {
    registered t;
    t.o.add_manifest("a/b", "many", std::string(oci_index),
                     index_of({{t.manifest, R"({"os":"linux","architecture":"amd64"})"}}));
    const std::string other = swap_manifest(t, "sha256:");
    expect_error(
        t.resolve("a/b:many"), error_kind::corrupt,
        "image '" + t.o.host() + "/a/b:many': manifest: its digest is " + other + ", but must be " + t.manifest_digest);
}

TEST(resolve, a_tags_manifest_that_contradicts_its_own_digest_is_refused) {
    registered t;
    t.o.add_fault({.kind = fault_kind::wrong_bytes, .times = always});  // the header stays
    const auto found = t.resolve();
    ASSERT_FALSE(found);
    EXPECT_EQ(found.error().kind, error_kind::corrupt);
    EXPECT_NE(found.error().text.find(t.manifest_digest), std::string::npos) << found.error().text;
}

TEST(resolve, a_manifest_is_too_large) {
    registered t;
    const std::string large = t.manifest + std::string(oci::document_bytes_cap, ' ');
    t.o.add_manifest("a/b", "large", std::string(oci_manifest), large);
    auto found = t.resolve("a/b:large");
    ASSERT_FALSE(found);
    EXPECT_EQ(found.error().kind, error_kind::corrupt);
    EXPECT_NE(found.error().text.find("is larger than 4194304"), std::string::npos) << found.error().text;

    // What the index says it is counts, too: not a byte more is taken.
    const std::string longer = t.manifest + "     ";
    t.o.add_manifest("a/b", "", std::string(oci_manifest), longer);
    std::string index = index_of({{longer, R"({"os":"linux","architecture":"amd64"})"}});
    const std::string size = std::to_string(longer.size());
    index.replace(index.find(size), size.size(), std::to_string(t.manifest.size()));
    t.o.add_manifest("a/b", "lies", std::string(oci_index), index);
    found = t.resolve("a/b:lies");
    ASSERT_FALSE(found);
    EXPECT_EQ(found.error().kind, error_kind::corrupt);
    EXPECT_NE(found.error().text.find("is larger than " + std::to_string(t.manifest.size())), std::string::npos);
}

TEST(resolve, what_is_no_manifest) {
    registered t;
    t.o.add_manifest("a/b", "page", "text/html", "<html>");
    const auto found = t.resolve("a/b:page");
    ASSERT_FALSE(found);
    EXPECT_EQ(found.error().kind, error_kind::corrupt);
    EXPECT_TRUE(found.error().text.starts_with("image '" + t.o.host() + "/a/b:page': ")) << found.error().text;
}

// ---- registries that fail ----

TEST(resolve, an_image_that_is_not_there) {
    registered t;
    expect_error(t.resolve("a/b:nope"), error_kind::not_found,
                 "image '" + t.o.host() + "/a/b:nope': the registry has no such image (MANIFEST_UNKNOWN)");
}

TEST(resolve, failures_are_tried_again) {
    registered t;
    t.o.add_fault({.kind = fault_kind::status, .amount = 503, .times = 3});
    t.o.add_fault({.kind = fault_kind::drop, .skip = 3, .times = 2});
    t.o.add_fault({.kind = fault_kind::short_body, .amount = 20, .skip = 5});
    const auto found = t.resolve();
    ASSERT_TRUE(found) << found.error().message();
    EXPECT_EQ(found->digest.to_string(), t.manifest_digest);
    EXPECT_EQ(t.o.count("/manifests/"), 7u);
}

TEST(resolve, the_deadline_ends_trying_and_tells_the_last_failure) {
    registered t;
    t.o.add_fault({.kind = fault_kind::status, .amount = 503, .times = always});
    const auto s = t.open();
    const auto begin = std::chrono::steady_clock::now();
    expect_error(resolve(*s, within(2000ms)), error_kind::timeout,
                 "image '" + t.o.host() + "/a/b:1': given up at the deadline: GET " + t.o.url("/v2/a/b/manifests/1") +
                     ": the server answered 503 (service unavailable): FAULT: on purpose");
    EXPECT_LT(std::chrono::steady_clock::now() - begin, 20s);
    EXPECT_GT(t.o.count("/manifests/"), 5u);
}

TEST(resolve, the_deadline_ends_silence) {
    registered t;
    t.o.add_fault({.kind = fault_kind::silence, .times = always});
    const auto s = t.open();
    const auto begin = std::chrono::steady_clock::now();
    expect_error(resolve(*s, within(2000ms)), error_kind::timeout,
                 "image '" + t.o.host() + "/a/b:1': GET " + t.o.url("/v2/a/b/manifests/1") + ": no answer in time");
    EXPECT_LT(std::chrono::steady_clock::now() - begin, 20s);
}

TEST(resolve, retry_after_is_kept) {
    registered t;
    auto o = t.options();
    o.retry = {2ms, 20ms, 2000ms};
    const auto s = session::make(*t.c, std::move(o));
    t.o.add_fault({.kind = fault_kind::status, .amount = 429, .retry_after = "1"});
    ASSERT_TRUE(resolve(*s));
    const auto log = t.o.log();
    ASSERT_EQ(log.size(), 2u);
    EXPECT_GE(log[1].at - log[0].at, 1s);
}

TEST(resolve, a_stop_ends_waiting_for_an_answer_and_between_attempts) {
    for (const auto kind : {fault_kind::silence, fault_kind::status}) {
        registered t;
        auto o = t.options();
        o.retry = {60s, 60s, 60s};
        o.progress = {1, 60s};
        const auto s = session::make(*t.c, std::move(o));
        const auto began = std::chrono::steady_clock::now();
        t.o.add_fault({.kind = kind, .amount = 503, .times = always});
        std::stop_source stop;
        std::promise<void> asked;
        std::once_flag once;
        t.o.on_request([&](const test::request_record&) { std::call_once(once, [&] { asked.set_value(); }); });
        std::jthread stopper([&] {
            if (kind == fault_kind::status) asked.get_future().wait();
            EXPECT_TRUE(soon([&] { return t.o.count() > 0; }));
            stop.request_stop();
        });
        expect_error(resolve(*s, within(60s, stop.get_token())), error_kind::cancelled,
                     "image '" + t.o.host() + "/a/b:1': cancelled");
        EXPECT_LT(std::chrono::steady_clock::now() - began, 20s);
        t.c.reset();
        t.o.on_request({});
    }
}

// ---- redirects ----

TEST(resolve, a_redirected_manifest_is_followed_without_credentials) {
    registered t;
    t.o.set_auth({.scheme = origin_auth::kind::basic, .user = "me", .password = "word"});
    origin elsewhere;
    elsewhere.add_file("/kept", t.manifest, std::string(oci_manifest));
    t.o.add_fault({.kind = fault_kind::status, .amount = 307, .skip = 1, .location = elsewhere.url("/kept")});
    const auto found = t.resolve("a/b:1", password("me", "word"));
    ASSERT_TRUE(found) << found.error().message();
    EXPECT_EQ(found->digest.to_string(), t.manifest_digest);
    ASSERT_EQ(elsewhere.log().size(), 1u);
    EXPECT_EQ(elsewhere.log()[0].header("authorization"), "");
    EXPECT_NE(t.o.log().back().header("authorization"), "");
}

TEST(resolve, another_host_that_asks_for_a_login_gets_none) {
    registered t;
    origin elsewhere;
    elsewhere.set_auth({.scheme = origin_auth::kind::basic, .user = "me", .password = "word"});
    t.o.add_fault({.kind = fault_kind::status, .amount = 307, .times = always, .location = elsewhere.url("/kept")});
    const auto found = t.resolve("a/b:1", password("me", "word"));
    ASSERT_FALSE(found);
    EXPECT_EQ(found.error().kind, error_kind::auth);
    for (const auto& r : elsewhere.log()) EXPECT_EQ(r.header("authorization"), "");
    EXPECT_EQ(elsewhere.log().size(), 1u);
}

TEST(resolve, redirects_end) {
    registered t;
    t.o.add_fault({.kind = fault_kind::status, .amount = 302, .times = always, .location = t.o.url("/v2/again")});
    expect_error(t.resolve(), error_kind::permanent,
                 "image '" + t.o.host() + "/a/b:1': GET " + t.o.url("/v2/a/b/manifests/1") + ": too many redirects");
    EXPECT_EQ(t.o.log().size(), 6u);
}

// ---- https, else http ----

TEST(transport, a_registry_on_this_machine_may_be_plain_which_is_found_out_once) {
    registered t;
    const auto s = t.open();
    EXPECT_EQ(s->secure(), std::nullopt);
    ASSERT_TRUE(resolve(*s));
    EXPECT_EQ(s->secure(), false);
    const std::size_t connections = t.o.connections();
    EXPECT_EQ(connections, 2u);  // by TLS, which it refused, and plain
    ASSERT_TRUE(resolve(*s));
    EXPECT_EQ(t.o.connections(), connections);
}

// A name that is this machine's, but that nobody calls so. No name service is asked for it.
TEST(transport, another_one_may_not_unless_somebody_said_so) {
    registered t;
    auto o = t.options();
    o.image = oci::parse_reference("0.0.0.0:" + std::to_string(t.o.port()) + "/a/b:1").value();
    const auto image = o.image;
    const auto strict = session::make(*t.c, std::move(o));
    const auto found = resolve(*strict);
    ASSERT_FALSE(found);
    EXPECT_EQ(found.error().kind, error_kind::permanent) << found.error().message();
    EXPECT_NE(found.error().hint.find("-o oci.insecure allows http"), std::string::npos) << found.error().hint;
    EXPECT_EQ(t.o.log().size(), 0u);

    const auto open_client = http::client::make({.allow_plain = true}).value();
    auto p = t.options();
    p.image = image;
    p.insecure = true;
    const auto lax = session::make(*open_client, std::move(p));
    const auto by_http = resolve(*lax);
    ASSERT_TRUE(by_http) << by_http.error().message();
    EXPECT_EQ(lax->secure(), false);
}

TEST(transport, a_registry_that_is_away_is_tried_both_ways_and_told_so) {
    registered t;
    t.o.go_away(origin::away::refuse);
    const auto s = t.open();
    const auto found = resolve(*s, within(2000ms));
    ASSERT_FALSE(found);
    EXPECT_EQ(found.error().kind, error_kind::timeout);
    EXPECT_NE(found.error().text.find("GET https://" + t.o.host()), std::string::npos) << found.error().text;
    EXPECT_NE(found.error().text.find("; and by http: GET http://" + t.o.host()), std::string::npos);
    EXPECT_EQ(s->secure(), std::nullopt);
    t.o.come_back();
    ASSERT_TRUE(resolve(*s));
    EXPECT_EQ(s->secure(), false);
}

TEST(transport, a_registry_that_comes_while_it_is_waited_for) {
    registered t;
    t.o.go_away(origin::away::refuse);
    const auto s = t.open();
    auto found = std::async(std::launch::async, [&] { return resolve(*s); });
    EXPECT_EQ(found.wait_for(200ms), std::future_status::timeout);
    t.o.come_back();
    ASSERT_TRUE(found.get());
}

// What a TLS server says to who speaks plain http to it.
TEST(transport, a_400_to_plain_http_does_not_make_a_registry_plain) {
    registered t;
    t.o.add_fault({.kind = fault_kind::status, .amount = 400, .times = 1});
    const auto s = t.open();
    const auto found = resolve(*s);
    ASSERT_FALSE(found);
    EXPECT_EQ(found.error().kind, error_kind::permanent);
    EXPECT_NE(found.error().text.find("; and by http: "), std::string::npos) << found.error().text;
    EXPECT_EQ(s->secure(), std::nullopt);
}

TEST(transport, one_that_only_leads_to_https_does_not_either) {
    registered t;
    t.o.add_fault({.kind = fault_kind::status,
                   .amount = 301,
                   .times = always,
                   .location = "https://" + t.o.host() + "/v2/a/b/manifests/1"});
    const auto s = t.open("a/b:1", password("me", "word"));
    ASSERT_FALSE(resolve(*s, within(2000ms)));
    EXPECT_EQ(s->secure(), std::nullopt);
    const auto blob = open_blob(s, oci::parse_digest(t.blob_digest).value(), 10, within(1500ms));
    ASSERT_FALSE(blob);
    EXPECT_NE(blob.error().text.find("the server answered 301, as no registry does"), std::string::npos)
        << blob.error().text;
}

}  // namespace
}  // namespace nerofs::registry
