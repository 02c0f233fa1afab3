#include "oci/document.h"

#include <gtest/gtest.h>

#include <string>

#include "oci/digest_check.h"
#include "oci/media_types.h"
#include "support.h"

namespace nerofs::oci {
namespace {

image_manifest manifest_in(const std::string& text, std::string_view content_type = "") {
    auto parsed = parse_document(bytes_of(text), content_type);
    EXPECT_TRUE(parsed) << message_of(parsed);
    if (!parsed || !std::holds_alternative<image_manifest>(*parsed)) {
        ADD_FAILURE() << "no manifest: " << text.substr(0, 200);
        return {};
    }
    return std::get<image_manifest>(*parsed);
}

image_index index_in(const std::string& text, std::string_view content_type = "") {
    auto parsed = parse_document(bytes_of(text), content_type);
    EXPECT_TRUE(parsed) << message_of(parsed);
    if (!parsed || !std::holds_alternative<image_index>(*parsed)) {
        ADD_FAILURE() << "no index: " << text.substr(0, 200);
        return {};
    }
    return std::get<image_index>(*parsed);
}

std::string refused(const std::string& text, error_kind kind = error_kind::corrupt,
                    std::string_view content_type = "") {
    const auto parsed = parse_document(bytes_of(text), content_type);
    if (!parsed) {
        EXPECT_EQ(parsed.error().kind, kind) << text.substr(0, 200);
    }
    return message_of(parsed);
}

const std::string a64(64, 'a');
const std::string one_layer = R"({"mediaType":"application/vnd.erofs","digest":"sha256:)" + a64 + R"(","size":7})";

std::string with_layer(const std::string& layer) {
    return R"({"schemaVersion":2,"layers":[)" + layer + "]}";
}

TEST(document, umoci_writes_no_media_type) {
    const std::string text = sample("umoci.manifest.json");
    const image_manifest m = manifest_in(text);
    EXPECT_EQ(m.media_type, media_types::oci_manifest);
    ASSERT_TRUE(m.config);
    EXPECT_EQ(m.config->digest.to_string(), "sha256:0de402d8bd18f49df2b17d148a8b3260b5f4ed18cf629c559505bc0df7dbc167");
    EXPECT_EQ(m.config->size, 557u);
    ASSERT_EQ(m.layers.size(), 2u);
    for (const image_layer& layer : m.layers) {
        EXPECT_EQ(layer.type, (layer_type{layer_format::tar, layer_compression::gzip, false}));
        EXPECT_EQ(layer.role, erofs_role::none);
    }
    EXPECT_EQ(manifest_in(text, media_types::docker_manifest).media_type, media_types::docker_manifest);

    const image_index index = index_in(sample("umoci.index.json"));
    EXPECT_EQ(index.media_type, media_types::oci_index);
    ASSERT_EQ(index.manifests.size(), 1u);
    EXPECT_EQ(index.manifests[0].annotations.at("org.opencontainers.image.ref.name"), "one");
    EXPECT_FALSE(index.manifests[0].platform);
    EXPECT_TRUE(check_digest(bytes_of(text), index.manifests[0].digest, "manifest"));
}

TEST(document, skopeo) {
    const image_manifest docker = manifest_in(sample("skopeo-v2s2.manifest.json"), media_types::docker_manifest);
    EXPECT_EQ(docker.media_type, media_types::docker_manifest);
    ASSERT_EQ(docker.layers.size(), 2u);
    EXPECT_EQ(docker.layers[1].type, (layer_type{layer_format::tar, layer_compression::gzip, false}));
    EXPECT_EQ(docker.layers[1].blob.size, 129u);
    EXPECT_EQ(docker.layers[1].blob.media_type, "application/vnd.docker.image.rootfs.diff.tar.gzip");

    const image_manifest zstd = manifest_in(sample("skopeo-oci-zstd.manifest.json"), "application/json");
    EXPECT_EQ(zstd.media_type, media_types::oci_manifest);
    ASSERT_EQ(zstd.layers.size(), 2u);
    EXPECT_EQ(zstd.layers[0].type, (layer_type{layer_format::tar, layer_compression::zstd, false}));
}

TEST(document, erofs_layers_and_their_roles) {
    const image_manifest m = manifest_in(sample("erofs.manifest.json"));
    ASSERT_EQ(m.layers.size(), 4u);
    EXPECT_EQ(m.layers[0].type, (layer_type{layer_format::erofs, layer_compression::none, false}));
    EXPECT_EQ(m.layers[0].role, erofs_role::device);
    EXPECT_EQ(m.layers[1].type, (layer_type{layer_format::tar, layer_compression::gzip, false}));
    EXPECT_EQ(m.layers[1].role, erofs_role::none);
    EXPECT_EQ(m.layers[2].type, (layer_type{layer_format::erofs, layer_compression::zstd, false}));
    EXPECT_EQ(m.layers[2].role, erofs_role::overlay_lower);
    EXPECT_EQ(m.layers[2].uncompressed, digest_of(bytes_of("unz")));
    EXPECT_EQ(m.layers[3].type, (layer_type{layer_format::erofs, layer_compression::none, false}));
    EXPECT_EQ(m.annotations.at("org.opencontainers.image.created"), "2025-01-01T00:00:00Z");
}

TEST(document, indexes) {
    const image_index docker = index_in(sample("docker.list.json"), media_types::docker_list);
    EXPECT_EQ(docker.media_type, media_types::docker_list);
    ASSERT_EQ(docker.manifests.size(), 4u);
    EXPECT_EQ(docker.manifests[1].platform, (platform{"linux", "arm", "v6", "", {}}));

    const image_index oci =
        index_in(sample("buildkit.index.json"), "application/vnd.oci.image.index.v1+json; charset=utf-8");
    ASSERT_EQ(oci.manifests.size(), 15u);
    EXPECT_EQ(oci.manifests[14].platform, (platform{"windows", "amd64", "", "10.0.17763.6054", {}}));
    EXPECT_EQ(oci.manifests[1].annotations.at("vnd.docker.reference.type"), "attestation-manifest");
    EXPECT_EQ(index_in(R"({"manifests":[]})").manifests.size(), 0u);
}

TEST(document, kinds_of_layers) {
    using f = layer_format;
    using c = layer_compression;
    const std::pair<const char*, layer_type> cases[] = {
        {"application/vnd.erofs", {f::erofs, c::none, false}},
        {"Application/VND.erofs ; x=y", {f::erofs, c::none, false}},
        {"application/vnd.erofs+zstd", {f::erofs, c::zstd, false}},
        {"application/vnd.erofs.layer.v1+zstd", {f::erofs, c::zstd, false}},
        {"application/vnd.oci.image.layer.v1.tar", {f::tar, c::none, false}},
        {"application/vnd.oci.image.layer.nondistributable.v1.tar+gzip", {f::tar, c::gzip, true}},
        {"application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", {f::tar, c::gzip, true}},
        {"application/vnd.docker.image.rootfs.diff.tar", {f::tar, c::none, false}},
        {"application/vnd.oci.image.layer.v1.tar+gzip+encrypted", {}},
        {"application/vnd.oci.empty.v1+json", {}},
        {"", {}},
    };
    for (const auto& [name, type] : cases) EXPECT_EQ(layer_type_of(name), type) << name;
    EXPECT_EQ(erofs_role_of({{"org.erofs.role", "overlay-data"}}), erofs_role::overlay_data);
    EXPECT_EQ(erofs_role_of({{"org.erofs.role", "Device"}}), erofs_role::unknown);
}

TEST(document, what_is_no_image_is_refused_by_name) {
    const std::string schema1 =
        "manifest: is of Docker's schema 1, which was given up in 2017; pushing the image again with a current tool "
        "makes a "
        "manifest of today";
    EXPECT_EQ(refused(sample("docker.schema1.json"), error_kind::unsupported), schema1);
    EXPECT_EQ(refused("{}", error_kind::unsupported, "application/vnd.docker.distribution.manifest.v1+prettyjws"),
              schema1);
    EXPECT_EQ(refused(R"({"fsLayers":[]})", error_kind::unsupported), schema1);
    EXPECT_EQ(
        refused(R"({"mediaType":"application/vnd.oci.artifact.manifest.v1+json","blobs":[]})", error_kind::unsupported),
        "manifest: is of an OCI artifact, not of an image");
    EXPECT_EQ(refused(R"({"mediaType":"application/vnd.wasm","layers":[]})", error_kind::unsupported),
              "manifest: its media type 'application/vnd.wasm' is not known");
}

TEST(document, what_contradicts_itself_is_refused) {
    EXPECT_EQ(refused(R"({"layers":[],"manifests":[]})"), "manifest: has both layers and manifests");
    EXPECT_EQ(refused(R"({"config":{},"manifests":[]})"), "manifest: has both layers and manifests");
    EXPECT_EQ(refused(R"({"layers":[],"fsLayers":[]})"), "manifest: has the layers of schema 1 and of schema 2");
    EXPECT_EQ(refused(R"({"mediaType":"application/vnd.oci.image.manifest.v1+json","manifests":[]})"),
              "manifest: says that it is 'application/vnd.oci.image.manifest.v1+json', but has manifests");
    EXPECT_EQ(refused(R"({"mediaType":"application/vnd.oci.image.index.v1+json","layers":[]})"),
              "manifest: says that it is 'application/vnd.oci.image.index.v1+json', but has layers");
    EXPECT_EQ(refused(R"({"mediaType":"application/vnd.oci.image.manifest.v1+json","layers":[]})", error_kind::corrupt,
                      "application/vnd.oci.image.index.v1+json"),
              "manifest: says that it is 'application/vnd.oci.image.manifest.v1+json', but came as "
              "'application/vnd.oci.image.index.v1+json'");
    EXPECT_EQ(refused(R"({"layers":[],"layers":[]})"), "manifest: the member 'layers' is there twice");
}

TEST(document, malformed) {
    const std::pair<std::string, std::string> cases[] = {
        {"", "manifest: is empty"},
        {"[]", "manifest: is no object"},
        {"{}", "manifest: has neither layers nor manifests"},
        {"{", "manifest: is not JSON (at byte 1)"},
        {R"({"a":1} x)", "manifest: is not JSON (at byte 8)"},
        {"\n <html>", "manifest: is not JSON but looks like a web page"},
        {R"({"schemaVersion":3,"layers":[]})", "manifest: its schemaVersion is not 2"},
        {R"({"schemaVersion":"2","layers":[]})", "manifest: its schemaVersion is not 2"},
        {R"({"mediaType":7,"layers":[]})", "manifest: mediaType is no media type"},
        {R"({"layers":{}})", "manifest: layers is no list"},
        {with_layer("7"), "manifest: layer 0: is no object"},
        {with_layer(one_layer + ",{}"), "manifest: layer 1: has no media type"},
        {with_layer(R"({"mediaType":"a b"})"), "manifest: layer 0: has no media type"},
        {with_layer(R"({"mediaType":"a"})"), "manifest: layer 0: has no digest"},
        {with_layer(R"({"mediaType":"a","digest":"sha256:x","size":1})"),
         "manifest: layer 0: digest 'sha256:x': has 1 digits behind sha256:, must have 64"},
        {with_layer(R"({"mediaType":"a","digest":"sha256:)" + a64 + R"("})"), "manifest: layer 0: has no size"},
        {with_layer(R"({"mediaType":"a","digest":"sha256:)" + a64 + R"(","size":-1})"),
         "manifest: layer 0: its size is not a number of bytes"},
        {with_layer(R"({"mediaType":"a","digest":"sha256:)" + a64 + R"(","size":1.5})"),
         "manifest: layer 0: its size is not a number of bytes"},
        {with_layer(R"({"mediaType":"a","digest":"sha256:)" + a64 + R"(","size":9223372036854775808})"),
         "manifest: layer 0: its size is not a number of bytes"},
        {with_layer(R"({"mediaType":"a","digest":"sha256:)" + a64 + R"(","size":1,"annotations":{"x":1}})"),
         "manifest: layer 0: the annotation 'x' is no text"},
        {with_layer(R"({"mediaType":"a","digest":"sha256:)" + a64 + R"(","size":1,"platform":[]})"),
         "manifest: layer 0: platform is no object"},
        {with_layer(R"({"mediaType":"a","digest":"sha256:)" + a64 + R"(","size":1,"platform":{"os.features":"x"}})"),
         "manifest: layer 0: os.features is no short list of texts"},
        {R"({"layers":[],"config":7})", "manifest: config: is no object"},
        {R"({"manifests":[{"mediaType":"a"}]})", "index: entry 0: has no digest"},
        {"{\"layers\":[\"\xff\"]}", "manifest: is not JSON (at byte 12)"},
    };
    for (const auto& [text, message] : cases) EXPECT_EQ(refused(text), message);
    EXPECT_EQ(refused(with_layer(R"({"mediaType":"a","digest":"blake3:abcd","size":1})"), error_kind::unsupported),
              "manifest: layer 0: digest 'blake3:abcd': only sha256 and sha512 are known");
}

TEST(document, sizes_counts_and_depth_are_bounded) {
    EXPECT_EQ(refused(std::string(document_bytes_cap + 1, ' ')), "manifest: is larger than 4.1 MB");
    std::string layers = one_layer;
    for (std::size_t i = 1; i < layers_cap; ++i) layers += "," + one_layer;
    EXPECT_EQ(manifest_in(with_layer(layers)).layers.size(), layers_cap);
    EXPECT_EQ(refused(with_layer(layers + "," + one_layer)), "manifest: has 1025 layers, more than 1024");
    EXPECT_EQ(refused(std::string(33, '[')), "manifest: is nested deeper than 32 levels");
    std::string zeros = "0";
    for (int i = 0; i < 70000; ++i) zeros += ",0";
    EXPECT_EQ(refused("[" + zeros + "]"), "manifest: holds more than 65536 values");
    std::string annotations;
    for (int i = 0; i < 1025; ++i) annotations += (i == 0 ? "\"" : ",\"") + std::to_string(i) + "\":\"\"";
    EXPECT_EQ(refused(R"({"layers":[],"annotations":{)" + annotations + "}}"),
              "manifest: has more than 1024 annotations");
    EXPECT_EQ(refused(with_layer(R"({"mediaType":")" + std::string(256, 'x') + "\"}")),
              "manifest: layer 0: mediaType is longer than 255 bytes");
}

}  // namespace
}  // namespace nerofs::oci
