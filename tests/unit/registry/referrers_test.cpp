// What lies beside an image: pushed and found, by the referrers API and by the tag scheme.
#include "registry/referrers.h"

#include "oci/index_artifact.h"
#include "support.h"

namespace nerofs::registry {
namespace {

constexpr std::string_view type = "application/vnd.example.thing+x";

oci::digest digest(std::string_view text) {
    return oci::parse_digest(text).value();
}

std::string artifact_of(const registered& t, std::string_view note = "") {
    return R"({"schemaVersion":2,"mediaType":")" + std::string(oci_manifest) + R"(","artifactType":")" +
           std::string(type) + R"(","annotations":{"note":")" + std::string(note) +
           R"("},"config":{"mediaType":"application/vnd.oci.empty.v1+json","digest":")" + sha256_of("{}") +
           R"(","size":2},"layers":[],"subject":{"mediaType":")" + std::string(oci_manifest) + R"(","digest":")" +
           t.manifest_digest + R"(","size":)" + std::to_string(t.manifest.size()) + "}}";
}

std::shared_ptr<const std::string> shared(std::string text) {
    return std::make_shared<const std::string>(std::move(text));
}

TEST(referrers, a_blob_is_pushed_once) {
    registered t;
    const auto s = t.open();
    const std::string bytes = random_bytes(300'000, 5);
    ASSERT_TRUE(push_blob(*s, digest(sha256_of(bytes)), shared(bytes), within(20s)));
    const auto log = t.o.log();
    ASSERT_EQ(log.size(), 3u);
    EXPECT_EQ(log[0].method, "HEAD");
    EXPECT_EQ(log[1].method, "POST");
    EXPECT_EQ(log[2].method, "PUT");
    EXPECT_EQ(log[2].body, bytes);
    EXPECT_EQ(log[2].header("content-type"), "application/octet-stream");
    EXPECT_EQ(log[2].header("expect"), "");
    t.o.clear_log();
    ASSERT_TRUE(push_blob(*s, digest(sha256_of(bytes)), shared(bytes), within(20s)));
    EXPECT_EQ(t.o.count(), 1u);
    oci::descriptor what;
    what.digest = digest(sha256_of(bytes));
    what.size = bytes.size();
    EXPECT_EQ(fetch_small(*s, stored_as::blob, what, bytes.size(), within(20s)).value(), bytes);
    expect_error(fetch_small(*s, stored_as::blob, what, bytes.size() - 1, within(20s)), error_kind::corrupt,
                 what.digest.to_string() + ": 300000 bytes are too many");
}

TEST(referrers, a_busy_registry_is_asked_again) {
    registered t;
    const auto s = t.open();
    t.o.add_fault({.kind = fault_kind::status, .amount = 503, .path_part = "/uploads/", .times = 2});
    ASSERT_TRUE(push_blob(*s, digest(sha256_of("x")), shared("x"), within(20s)));
}

TEST(referrers, pushing_takes_a_token_for_it) {
    registered t;
    t.o.set_auth({.scheme = origin_auth::kind::bearer});
    const auto s = t.open();
    ASSERT_TRUE(resolve(*s));
    ASSERT_TRUE(push_blob(*s, digest(sha256_of("x")), shared("x"), within(20s)));
    ASSERT_TRUE(resolve(*s));
    std::vector<std::string> tokens;
    for (const auto& r : t.o.log())
        if (r.path == "/token") tokens.push_back(r.target.substr(r.target.find("scope=")));
    EXPECT_EQ(tokens,
              (std::vector<std::string>{"scope=repository%3Aa%2Fb%3Apull", "scope=repository%3Aa%2Fb%3Apull%2Cpush"}));
}

TEST(referrers, by_the_api) {
    registered t;
    t.o.set_referrers(true);
    const auto s = t.open();
    const oci::digest subject = digest(t.manifest_digest);
    EXPECT_TRUE(find_referrers(*s, subject, type, within(20s)).value().empty());
    const auto pushed = push_artifact(*s, subject, artifact_of(t), type, within(20s));
    ASSERT_TRUE(pushed) << pushed.error().message();
    EXPECT_EQ(pushed->to_string(), sha256_of(artifact_of(t)));
    EXPECT_EQ(t.o.count("/manifests/sha256-"), 0u);
    const auto found = find_referrers(*s, subject, type, within(20s));
    ASSERT_TRUE(found) << found.error().message();
    ASSERT_EQ(found->size(), 1u);
    EXPECT_EQ(found->front().digest, *pushed);
    EXPECT_EQ(fetch_small(*s, stored_as::manifest, found->front(), 100'000, within(20s)).value(), artifact_of(t));
    EXPECT_TRUE(find_referrers(*s, subject, "application/vnd.example.thing", within(20s)).value().empty());
}

TEST(referrers, by_the_tag_scheme) {
    registered t;
    const auto s = t.open();
    const oci::digest subject = digest(t.manifest_digest);
    EXPECT_TRUE(find_referrers(*s, subject, type, within(20s)).value().empty());
    // What somebody else put there, with members that nobody here knows.
    const std::string theirs =
        R"({"schemaVersion":2,"mediaType":")" + std::string(oci_index) + R"(","manifests":[{"mediaType":")" +
        std::string(oci_manifest) + R"(","digest":")" + sha256_of("theirs") +
        R"(","size":6,"artifactType":"application/vnd.theirs","urls":["x"]}],"annotations":{"a":"b"}})";
    const std::string tag = "sha256-" + t.manifest_digest.substr(7);
    t.o.add_manifest("a/b", tag, std::string(oci_index), theirs);
    const auto one = push_artifact(*s, subject, artifact_of(t, "one"), type, within(20s));
    const auto two = push_artifact(*s, subject, artifact_of(t, "two"), type, within(20s));
    ASSERT_TRUE(one && two);
    const auto found = find_referrers(*s, subject, type, within(20s));
    ASSERT_TRUE(found) << found.error().message();
    ASSERT_EQ(found->size(), 2u);
    EXPECT_EQ((*found)[0].digest, *one);
    EXPECT_EQ((*found)[1].digest, *two);
    EXPECT_EQ(find_referrers(*s, subject, "application/vnd.theirs", within(20s)).value().size(), 1u);
    const auto log = t.o.log();
    const auto put = std::find_if(log.rbegin(), log.rend(), [](const auto& r) { return r.method == "PUT"; });
    EXPECT_EQ(put->path, "/v2/a/b/manifests/" + tag);
    EXPECT_NE(put->body.find(R"("urls":["x"])"), std::string::npos) << put->body;
    EXPECT_NE(put->body.find(R"("annotations":{"a":"b"})"), std::string::npos) << put->body;
    // Again: nothing changes.
    t.o.clear_log();
    ASSERT_TRUE(push_artifact(*s, subject, artifact_of(t, "two"), type, within(20s)));
    const auto again = t.o.log();
    EXPECT_EQ(std::count_if(again.begin(), again.end(), [](const auto& r) { return r.method == "PUT"; }), 1);
}

TEST(referrers, a_list_that_is_none_is_not_overwritten) {
    registered t;
    const auto s = t.open();
    t.o.add_manifest("a/b", "sha256-" + t.manifest_digest.substr(7), std::string(oci_manifest), t.manifest);
    const oci::digest subject = digest(t.manifest_digest);
    EXPECT_EQ(find_referrers(*s, subject, type, within(20s)).error().kind, error_kind::corrupt);
    EXPECT_EQ(push_artifact(*s, subject, artifact_of(t), type, within(20s)).error().kind, error_kind::corrupt);
}

}  // namespace
}  // namespace nerofs::registry
