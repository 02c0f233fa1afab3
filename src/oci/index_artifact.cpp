#include "oci/index_artifact.h"

#include <nlohmann/json.hpp>
#include <utility>
#include <variant>

#include "oci/descriptor_json.h"
#include "oci/digest_check.h"
#include "oci/document.h"
#include "oci/json.h"
#include "oci/media_types.h"

namespace nerofs::oci {
namespace {

using ordered = nlohmann::ordered_json;

constexpr std::string_view layer_annotation = "org.nerofs.layer";
constexpr std::string_view empty_type = "application/vnd.oci.empty.v1+json";

tl::unexpected<error> corrupt(std::string_view why) {
    return fail(error_kind::corrupt, "layer indexes: " + std::string(why));
}

ordered to_json(const descriptor& d) {
    ordered out{{"mediaType", d.media_type}, {"digest", d.digest.to_string()}, {"size", d.size}};
    if (!d.artifact_type.empty()) out["artifactType"] = d.artifact_type;
    return out;
}

}  // namespace

std::string write_index_artifact(const descriptor& subject, const std::vector<layer_index_blob>& indexes) {
    const descriptor config{
        std::string(empty_type), digest_of(std::as_bytes(std::span(empty_config))), empty_config.size(), {}, {}, {}};
    ordered layers = ordered::array();
    for (const layer_index_blob& i : indexes) {
        ordered one = to_json({std::string(layer_index_type), i.digest, i.size, {}, {}, {}});
        one["annotations"] = {{layer_annotation, i.layer}};
        layers.push_back(std::move(one));
    }
    const ordered whole{{"schemaVersion", 2},
                        {"mediaType", media_types::oci_manifest},
                        {"artifactType", layer_index_type},
                        {"config", to_json(config)},
                        {"layers", std::move(layers)},
                        {"subject", to_json({subject.media_type, subject.digest, subject.size, {}, {}, {}})}};
    return whole.dump();
}

result<std::vector<layer_index_blob>> read_index_artifact(std::span<const std::byte> manifest, const digest& subject) {
    NEROFS_TRY(const document parsed, parse_document(manifest, media_types::oci_manifest));
    const auto* const artifact = std::get_if<image_manifest>(&parsed);
    if (artifact == nullptr || artifact->artifact_type != layer_index_type) return corrupt("another kind of artifact");
    NEROFS_TRY(const json whole, parse_json(manifest, "manifest"));
    const json* const of = whole.find("subject");
    if (of == nullptr) return corrupt("the artifact has no subject");
    NEROFS_TRY(const descriptor said, read_descriptor(*of, "manifest: subject"));
    if (said.digest != subject) return corrupt("the artifact is another image's");
    std::vector<layer_index_blob> found;
    for (const image_layer& l : artifact->layers) {
        const auto layer = l.blob.annotations.find(layer_annotation);
        if (l.blob.media_type == layer_index_type && layer != l.blob.annotations.end())
            found.push_back({layer->second, l.blob.digest, l.blob.size});
    }
    return found;
}

result<std::vector<descriptor>> read_referrers(std::span<const std::byte> list, std::string_view artifact_type) {
    NEROFS_TRY(document parsed, parse_document(list, media_types::oci_index));
    auto* const index = std::get_if<image_index>(&parsed);
    if (index == nullptr) return corrupt("the list of referrers is no index");
    std::erase_if(index->manifests, [&](const descriptor& d) { return d.artifact_type != artifact_type; });
    return std::move(index->manifests);
}

result<std::string> add_referrer(std::span<const std::byte> list, const descriptor& which) {
    ordered whole{{"schemaVersion", 2}, {"mediaType", media_types::oci_index}, {"manifests", ordered::array()}};
    if (!list.empty()) {
        NEROFS_TRY(const document parsed, parse_document(list, media_types::oci_index));
        if (!std::holds_alternative<image_index>(parsed)) return corrupt("the list of referrers is no index");
        const auto* const text = reinterpret_cast<const char*>(list.data());
        whole = ordered::parse(text, text + list.size(), nullptr, false);
        if (whole.is_discarded() || !whole["manifests"].is_array()) return corrupt("the list of referrers is no index");
    }
    ordered& entries = whole["manifests"];
    const std::string name = which.digest.to_string();
    for (auto at = entries.begin(); at != entries.end();)
        at = (*at)["digest"] == name ? entries.erase(at) : std::next(at);
    entries.push_back(to_json(which));
    return whole.dump();
}

std::string referrers_tag(const digest& subject) {
    std::string tag = subject.to_string().substr(0, 128);  // as long as a tag may be
    tag[tag.find(':')] = '-';
    return tag;
}

result<std::vector<std::string>> read_diff_ids(std::span<const std::byte> config) {
    NEROFS_TRY(const json whole, parse_json(config, "config"));
    const json* const rootfs = whole.find("rootfs");
    const json* const list = rootfs == nullptr ? nullptr : rootfs->find("diff_ids");
    if (list == nullptr || !list->is(json::kind::list)) return fail(error_kind::corrupt, "config: has no diff_ids");
    std::vector<std::string> ids;
    for (const json& id : list->items()) ids.emplace_back(id.text());
    return ids;
}

}  // namespace nerofs::oci
