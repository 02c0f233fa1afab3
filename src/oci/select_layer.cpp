#include "oci/select_layer.h"

#include <fmt/format.h>

#include <vector>

#include "oci/text.h"

namespace nerofs::oci {
namespace {

constexpr std::size_t listed_at_most = 32;

std::string list_of(const image_manifest& manifest) {
    std::vector<std::string> lines;
    for (const image_layer& layer : manifest.layers) {
        if (lines.size() == listed_at_most) {
            lines.push_back(fmt::format("and {} more", manifest.layers.size() - listed_at_most));
            break;
        }
        lines.push_back(fmt::format("{}: {} {} {}", lines.size(), layer.blob.digest.to_string(),
                                    size_text(layer.blob.size), shown(layer.blob.media_type)));
    }
    return fmt::format("{}", fmt::join(lines, ", "));
}

error with_list(error_kind kind, std::string_view why, const image_manifest& manifest) {
    return make_error(kind, fmt::format("{} ({})", why, list_of(manifest)))
        .with_hint("choose one with oci.layer=N or oci.blob=DIGEST");
}

}  // namespace

result<std::size_t> select_layer(const image_manifest& manifest, const layer_choice& choice) {
    const std::size_t count = manifest.layers.size();
    if (count == 0) return fail(error_kind::not_found, "the image has no layers");
    const std::string has = count == 1 ? "the image has 1 layer" : fmt::format("the image has {} layers", count);
    if (choice.blob) {
        for (std::size_t i = 0; i < count; ++i)
            if (manifest.layers[i].blob.digest == *choice.blob) return i;
        return fail(
            with_list(error_kind::not_found, fmt::format("{}, none is {}", has, choice.blob->to_string()), manifest));
    }
    if (choice.number) {
        if (*choice.number < count) return *choice.number;
        return fail(
            with_list(error_kind::not_found, fmt::format("{}, there is no layer {}", has, *choice.number), manifest));
    }
    if (count == 1) return 0;
    return fail(with_list(error_kind::usage, has, manifest));
}

}  // namespace nerofs::oci
