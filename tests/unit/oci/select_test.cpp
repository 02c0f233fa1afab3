// Which image of an index, and which layer of an image.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "oci/document.h"
#include "oci/media_types.h"
#include "oci/select_layer.h"
#include "support.h"

namespace nerofs::oci {
namespace {

template <class T>
T parsed(const std::string& name) {
    return std::get<T>(*parse_document(bytes_of(sample(name)), ""));
}

descriptor entry(const char* of, std::vector<std::string> features = {}) {
    descriptor d;
    d.media_type = media_types::oci_manifest;
    if (*of != '\0') {
        d.platform = *parse_platform(of);
        d.platform->os_features = std::move(features);
    }
    return d;
}

std::string chosen(const image_index& index, const char* wanted) {
    const auto number = select_manifest(index, *parse_platform(wanted));
    return number ? std::to_string(*number) : number.error().message();
}

TEST(select_manifest, from_real_indexes) {
    const auto docker = parsed<image_index>("docker.list.json");
    EXPECT_EQ(chosen(docker, "linux/amd64"), "0");
    EXPECT_EQ(chosen(docker, "linux/arm/v7"), "2");
    EXPECT_EQ(chosen(docker, "linux/arm/v6"), "1");
    EXPECT_EQ(chosen(docker, "linux/arm/v8"), "2");
    EXPECT_EQ(chosen(docker, "linux/arm64"), "3");
    EXPECT_EQ(chosen(docker, "linux/arm/v5"),
              "there is no image for linux/arm/v5; there is linux/amd64, linux/arm/v6, linux/arm/v7, linux/arm64/v8; "
              "choose one with -o oci.platform=OS/ARCH[/VARIANT]");
    const auto buildkit = parsed<image_index>("buildkit.index.json");
    EXPECT_EQ(chosen(buildkit, "linux/amd64"), "0");
    EXPECT_EQ(chosen(buildkit, "linux/arm/v6"), "2");
    EXPECT_EQ(chosen(buildkit, "windows/amd64"), "14");
    EXPECT_EQ(chosen(buildkit, "linux/riscv64"),
              "there is no image for linux/riscv64; there is linux/amd64, linux/arm/v5, linux/arm/v7, linux/arm64/v8, "
              "linux/386, linux/ppc64le, linux/s390x, windows/amd64 (10.0.17763.6054); choose one with -o "
              "oci.platform=OS/ARCH[/VARIANT]");
    EXPECT_EQ(chosen(buildkit, "unknown/unknown").substr(0, 37), "there is no image for unknown/unknown")
        << "attestations";
    EXPECT_EQ(chosen(parsed<image_index>("umoci.index.json"), "linux/s390x"), "0")
        << "the only one, without a platform";
}

TEST(select_manifest, prefers_the_nearest_then_erofs_then_the_first) {
    image_index index;
    index.manifests = {entry("linux/arm/v5"), entry("linux/arm/v7"), entry("linux/arm/v7", {"erofs"}),
                       entry("linux/arm/v7", {"erofs"}), entry("linux/arm/v6", {"erofs"})};
    EXPECT_EQ(chosen(index, "linux/arm/v7"), "2");
    EXPECT_EQ(chosen(index, "linux/arm/v6"), "4");
    EXPECT_EQ(chosen(index, "linux/arm/v5"), "0");
}

TEST(select_manifest, without_a_platform_only_when_alone) {
    image_index index;
    EXPECT_EQ(chosen(index, "linux/amd64"), "there is no image for linux/amd64; there is no image at all");
    index.manifests = {entry("")};
    EXPECT_EQ(chosen(index, "linux/amd64"), "0");
    index.manifests[0].platform.emplace();
    EXPECT_EQ(chosen(index, "linux/amd64"), "0") << "an empty one says nothing either";
    index.manifests.push_back(entry(""));
    EXPECT_EQ(chosen(index, "linux/amd64"),
              "there is no image for linux/amd64; there is one without a platform; choose one with -o "
              "oci.platform=OS/ARCH[/VARIANT]");
    index.manifests = {entry("linux/arm64")};
    EXPECT_EQ(chosen(index, "linux/amd64").substr(0, 33), "there is no image for linux/amd64");
    index.manifests = {entry(""), entry("linux/arm64")};
    index.manifests[1].media_type = "application/vnd.example.sbom";
    EXPECT_EQ(chosen(index, "linux/amd64"), "0") << "what is no image doesn't count";
}

TEST(select_manifest, a_long_or_hostile_list_stays_one_line) {
    image_index index;
    for (int i = 0; i < 100; ++i) index.manifests.push_back(entry(("linux/a" + std::to_string(i)).c_str()));
    index.manifests[0].platform->architecture = "x\n\x1b[31m";
    const std::string message = chosen(index, "linux/amd64");
    EXPECT_NE(message.find("there is linux/x\\x0a\\x1b[31m, linux/a1, "), std::string::npos) << message;
    EXPECT_NE(message.find(", linux/a23 and 76 more; choose"), std::string::npos) << message;
}

std::string layer_of(const image_manifest& m, const layer_choice& choice) {
    const auto number = select_layer(m, choice);
    return number ? std::to_string(*number) : number.error().message();
}

TEST(select_layer, by_number_by_digest_or_alone) {
    auto m = parsed<image_manifest>("skopeo-v2s2.manifest.json");
    const std::string list =
        " (0: sha256:465628010ac27351773f621267ea5c671bac06bcbd7d7de811be3b4577a993a7 136 B "
        "application/vnd.docker.image.rootfs.diff.tar.gzip, 1: "
        "sha256:10c88111807c31696761bd3b8e68ef1cd77d54146cf94f8d58a4c9f3038779de 129 B "
        "application/vnd.docker.image.rootfs.diff.tar.gzip); choose one with oci.layer=N or oci.blob=DIGEST";
    EXPECT_EQ(layer_of(m, {0, {}}), "0");
    EXPECT_EQ(layer_of(m, {1, {}}), "1");
    EXPECT_EQ(layer_of(m, {2, {}}), "the image has 2 layers, there is no layer 2" + list);
    EXPECT_EQ(layer_of(m, {4294967295u, {}}), "the image has 2 layers, there is no layer 4294967295" + list);
    EXPECT_EQ(layer_of(m, {{}, m.layers[1].blob.digest}), "1");
    const digest other{digest_algorithm::sha256, std::string(64, '0')};
    EXPECT_EQ(layer_of(m, {{}, other}), "the image has 2 layers, none is " + other.to_string() + list);
    EXPECT_EQ(layer_of(m, {}), "the image has 2 layers" + list);
    EXPECT_EQ(select_layer(m, {}).error().kind, error_kind::usage);
    EXPECT_EQ(select_layer(m, {2, {}}).error().kind, error_kind::not_found);
    m.layers.pop_back();
    EXPECT_EQ(layer_of(m, {}), "0");
    EXPECT_EQ(layer_of(m, {1, {}}).substr(0, 45), "the image has 1 layer, there is no layer 1 (0");
    m.layers.clear();
    EXPECT_EQ(layer_of(m, {}), "the image has no layers");
    EXPECT_EQ(layer_of(m, {0, {}}), "the image has no layers");
}

TEST(select_layer, sizes_are_for_people_and_long_lists_end) {
    const auto m = parsed<image_manifest>("erofs.manifest.json");
    const std::string message = layer_of(m, {});
    EXPECT_NE(message.find(" 1.3 MB application/vnd.erofs, 1: "), std::string::npos) << message;
    EXPECT_NE(message.find(" 28.2 MB application/"), std::string::npos) << message;
    EXPECT_NE(message.find(" 4.0 kB application/"), std::string::npos) << message;
    EXPECT_NE(message.find(" 999 B application/"), std::string::npos) << message;
    image_manifest many;
    many.layers.resize(100, m.layers[0]);
    EXPECT_NE(layer_of(many, {}).find(" application/vnd.erofs, and 68 more); choose"), std::string::npos);
}

}  // namespace
}  // namespace nerofs::oci
