// The artifact with the indexes of an image's layers, as the OCI image specification wants it, and the lists of
// referrers.
#include "oci/index_artifact.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "oci/digest_check.h"

namespace nerofs::oci {
namespace {

std::span<const std::byte> bytes(std::string_view text) {
    return std::as_bytes(std::span(text.data(), text.size()));
}
digest of(std::string_view text) {
    return digest_of(bytes(text));
}
descriptor image() {
    descriptor d;
    d.media_type = "application/vnd.oci.image.manifest.v1+json";
    d.digest = of("image");
    d.size = 5;
    return d;
}

TEST(index_artifact, is_what_the_specification_says) {
    const std::string layer = of("layer").to_string();
    const auto m = nlohmann::json::parse(write_index_artifact(image(), {{layer, of("file"), 4}}));
    EXPECT_EQ(m["schemaVersion"], 2);
    EXPECT_EQ(m["mediaType"], "application/vnd.oci.image.manifest.v1+json");
    EXPECT_EQ(m["artifactType"], "application/vnd.nerofs.layer-index.v1");
    // Image specification, "Guidance for an Empty Descriptor".
    EXPECT_EQ(m["config"]["mediaType"], "application/vnd.oci.empty.v1+json");
    EXPECT_EQ(m["config"]["digest"], "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a");
    EXPECT_EQ(m["config"]["size"], 2);
    EXPECT_EQ(m["subject"]["digest"], of("image").to_string());
    EXPECT_EQ(m["subject"]["size"], 5);
    ASSERT_EQ(m["layers"].size(), 1u);
    EXPECT_EQ(m["layers"][0]["mediaType"], "application/vnd.nerofs.layer-index.v1");
    EXPECT_EQ(m["layers"][0]["digest"], of("file").to_string());
    EXPECT_EQ(m["layers"][0]["annotations"]["org.nerofs.layer"], layer);
}

TEST(index_artifact, is_read_as_written) {
    const std::vector<layer_index_blob> all = {{of("a").to_string(), of("1"), 1}, {of("b").to_string(), of("22"), 2}};
    const std::string text = write_index_artifact(image(), all);
    EXPECT_EQ(read_index_artifact(bytes(text), of("image")).value(), all);
    EXPECT_EQ(read_index_artifact(bytes(text), of("another")).error().text,
              "layer indexes: the artifact is another image's");
}

TEST(index_artifact, others_are_refused) {
    auto m = nlohmann::json::parse(write_index_artifact(image(), {}));
    m.erase("subject");
    EXPECT_FALSE(read_index_artifact(bytes(m.dump()), of("image")));
    m["artifactType"] = "x/y";
    EXPECT_FALSE(read_index_artifact(bytes(m.dump()), of("image")));
    EXPECT_FALSE(read_index_artifact(bytes("{}"), of("image")));
    EXPECT_FALSE(read_index_artifact({}, of("image")));
}

TEST(index_artifact, a_list_may_be_empty_and_must_be_one) {
    EXPECT_TRUE(add_referrer({}, image()));
    EXPECT_TRUE(add_referrer(bytes(R"({"schemaVersion":2,"manifests":[]})"), image()));
    for (const char* wrong : {"[]", "{}", "x", R"({"schemaVersion":2,"manifests":{}})",
                              R"({"schemaVersion":2,"manifests":[1]})", R"({"schemaVersion":2,"layers":[]})"})
        EXPECT_FALSE(add_referrer(bytes(wrong), image())) << wrong;
}

TEST(index_artifact, tags_of_lists) {
    EXPECT_EQ(referrers_tag(of("image")), "sha256-" + of("image").hex);
    EXPECT_LE(referrers_tag(digest_of(bytes("x"), digest_algorithm::sha512)).size(), 128u);
}

TEST(index_artifact, diff_ids_of_a_config) {
    EXPECT_EQ(read_diff_ids(bytes(R"({"rootfs":{"type":"layers","diff_ids":["sha256:a","sha256:b"]}})")).value(),
              (std::vector<std::string>{"sha256:a", "sha256:b"}));
    for (const char* wrong : {"{}", "x", R"({"rootfs":[]})", R"({"rootfs":{"diff_ids":1}})"})
        EXPECT_FALSE(read_diff_ids(bytes(wrong))) << wrong;
}

}  // namespace
}  // namespace nerofs::oci
