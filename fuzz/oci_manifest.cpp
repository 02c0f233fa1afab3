// Manifests and indexes of hostile registries, the choices among them, and their errors. The first byte is the answer's
// Content-Type.
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "oci/document.h"
#include "oci/media_types.h"
#include "oci/select_layer.h"
#include "require.h"

namespace {

using namespace nerofs;
using namespace nerofs::fuzz;

void check_error(const error& e) {
    const std::string text = e.message();
    require(!text.empty() && text.size() < 30000);
    for (const char c : text) require(c >= ' ' && c < 0x7f);
}

void check(const oci::image_index& index) {
    require(index.manifests.size() <= oci::manifests_cap);
    for (const char* wanted : {"linux/amd64", "linux/arm64/v8", "linux/arm/v7", "windows/amd64"}) {
        const auto platform = *oci::parse_platform(wanted);
        const auto number = oci::select_manifest(index, platform);
        if (!number) {
            check_error(number.error());
            continue;
        }
        require(*number < index.manifests.size());
        const oci::descriptor& chosen = index.manifests[*number];
        require(oci::media_types::is_manifest(chosen.media_type) || oci::media_types::is_index(chosen.media_type));
        if (chosen.platform && !chosen.platform->os.empty() && !chosen.platform->architecture.empty())
            require(oci::distance(platform, *chosen.platform).has_value());
    }
}

void check(const oci::image_manifest& manifest) {
    require(manifest.layers.size() <= oci::layers_cap);
    for (std::uint32_t number = 0; number < 3; ++number) {
        const auto layer = oci::select_layer(manifest, {number, {}});
        require(layer.has_value() == (number < manifest.layers.size()));
        if (!layer) check_error(layer.error());
    }
    const auto alone = oci::select_layer(manifest, {});
    require(alone.has_value() == (manifest.layers.size() == 1));
    if (!alone) check_error(alone.error());
    for (const oci::image_layer& layer : manifest.layers) {
        require(layer.blob.size < std::uint64_t{1} << 63);
        const auto named = oci::select_layer(manifest, {{}, layer.blob.digest});
        require(named && manifest.layers[*named].blob.digest == layer.blob.digest);
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    static constexpr std::array<std::string_view, 8> content_types{"",
                                                                   "application/json",
                                                                   oci::media_types::oci_manifest,
                                                                   oci::media_types::oci_index,
                                                                   oci::media_types::docker_manifest,
                                                                   oci::media_types::docker_list,
                                                                   oci::media_types::docker_schema1_signed,
                                                                   oci::media_types::oci_artifact};
    if (size == 0) return 0;
    const auto parsed = oci::parse_document(std::as_bytes(std::span(data + 1, size - 1)),
                                            content_types[data[0] % content_types.size()]);
    if (parsed)
        std::visit([](const auto& document) { check(document); }, *parsed);
    else
        check_error(parsed.error());
    return 0;
}
