#include "oci/document.h"

#include <fmt/format.h>

#include <utility>

#include "oci/descriptor_json.h"
#include "oci/media_types.h"
#include "oci/text.h"

namespace nerofs::oci {
namespace {

using namespace media_types;

tl::unexpected<error> corrupt(std::string_view why) {
    return fail(error_kind::corrupt, fmt::format("manifest: {}", why));
}

error schema1() {
    return make_error(error_kind::unsupported, "manifest: is of Docker's schema 1, which was given up in 2017")
        .with_hint("pushing the image again with a current tool makes a manifest of today");
}

// The list of that name; empty when there is none.
result<const std::vector<json>*> list_of(const json& whole, std::string_view name, std::size_t cap) {
    static const std::vector<json> none;
    const json* const list = whole.find(name);
    if (list == nullptr) return &none;
    if (!list->is(json::kind::list)) return corrupt(fmt::format("{} is no list", name));
    if (list->items().size() > cap)
        return corrupt(fmt::format("has {} {}, more than {}", list->items().size(), name, cap));
    return &list->items();
}

result<std::string> artifact_type_of(const json& whole) {
    const json* const type = whole.find("artifactType");
    if (type == nullptr) return std::string();
    if (!type->is(json::kind::text) || type->text().size() > longest_media_type)
        return corrupt("artifactType is no media type");
    return std::string(type->text());
}

result<document> read_manifest(const json& whole, std::string media_type) {
    image_manifest m;
    m.media_type = std::move(media_type);
    if (const json* const config = whole.find("config")) {
        NEROFS_TRY(m.config, read_descriptor(*config, "manifest: config"));
    }
    NEROFS_TRY(const auto* const layers, list_of(whole, "layers", layers_cap));
    for (const json& value : *layers) {
        const std::string what = fmt::format("manifest: layer {}", m.layers.size());
        image_layer layer;
        NEROFS_TRY(layer.blob, read_descriptor(value, what));
        layer.type = layer_type_of(layer.blob.media_type);
        layer.role = erofs_role_of(layer.blob.annotations);
        const auto uncompressed = layer.blob.annotations.find("org.erofs.uncompressed-digest");
        if (uncompressed != layer.blob.annotations.end()) {
            auto named = parse_digest(uncompressed->second);
            if (!named) return fail(std::move(named).error().in(what + ": org.erofs.uncompressed-digest"));
            layer.uncompressed = std::move(*named);
        }
        m.layers.push_back(std::move(layer));
    }
    NEROFS_TRY(m.annotations, read_annotations(whole, "manifest"));
    NEROFS_TRY(m.artifact_type, artifact_type_of(whole));
    return m;
}

result<document> read_index(const json& whole, std::string media_type) {
    image_index index;
    index.media_type = std::move(media_type);
    NEROFS_TRY(const auto* const manifests, list_of(whole, "manifests", manifests_cap));
    for (const json& value : *manifests) {
        NEROFS_TRY(descriptor entry, read_descriptor(value, fmt::format("index: entry {}", index.manifests.size())));
        index.manifests.push_back(std::move(entry));
    }
    NEROFS_TRY(index.annotations, read_annotations(whole, "index"));
    return index;
}

// What the document says of itself, or what was said of it, or nothing.
result<std::string> type_of(const json& whole, std::string_view content_type) {
    const std::string told = media_type_of(content_type);
    const bool told_image = is_manifest(told) || is_index(told) || is_schema1(told) || told == oci_artifact;
    std::string said;
    if (const json* const type = whole.find("mediaType")) {
        if (!type->is(json::kind::text) || type->text().size() > longest_media_type)
            return corrupt("mediaType is no media type");
        said = media_type_of(type->text());
    }
    if (said.empty()) return told_image ? told : std::string();
    if (told_image && told != said)
        return corrupt(fmt::format("says that it is {}, but came as {}", quoted(said), quoted(told)));
    return said;
}

}  // namespace

result<document> parse_document(std::span<const std::byte> bytes, std::string_view content_type) {
    NEROFS_TRY(const json whole, parse_json(bytes, "manifest", {.bytes = document_bytes_cap}));
    if (!whole.is(json::kind::object)) return corrupt("is no object");
    NEROFS_TRY(std::string type, type_of(whole, content_type));
    if (is_schema1(type)) return fail(schema1());
    if (const json* const version = whole.find("schemaVersion")) {
        const auto number = version->whole_number();
        if (number == 1) return fail(schema1());
        if (number != 2) return corrupt("its schemaVersion is not 2");
    }
    const bool has_layers = whole.find("layers") != nullptr || whole.find("config") != nullptr;
    const bool has_manifests = whole.find("manifests") != nullptr;
    if (whole.find("fsLayers") != nullptr && (has_layers || has_manifests))
        return corrupt("has the layers of schema 1 and of schema 2");
    if (has_layers && has_manifests) return corrupt("has both layers and manifests");
    if (type == oci_artifact) return fail(error_kind::unsupported, "manifest: is of an OCI artifact, not of an image");
    if (!type.empty() && !is_manifest(type) && !is_index(type))
        return fail(error_kind::unsupported, fmt::format("manifest: its media type {} is not known", quoted(type)));
    if (has_manifests) {
        if (is_manifest(type)) return corrupt(fmt::format("says that it is {}, but has manifests", quoted(type)));
        return read_index(whole, type.empty() ? std::string(oci_index) : std::move(type));
    }
    if (has_layers) {
        if (is_index(type)) return corrupt(fmt::format("says that it is {}, but has layers", quoted(type)));
        return read_manifest(whole, type.empty() ? std::string(oci_manifest) : std::move(type));
    }
    if (whole.find("fsLayers") != nullptr) return fail(schema1());
    return corrupt("has neither layers nor manifests");
}

}  // namespace nerofs::oci
