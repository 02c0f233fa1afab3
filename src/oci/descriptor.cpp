#include "oci/descriptor.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "oci/descriptor_json.h"
#include "oci/text.h"

namespace nerofs::oci {
namespace {

constexpr std::size_t longest_platform_word = 255;

// The text of a member; empty when there is none.
result<std::string> read_text(const json& object, std::string_view name, std::string_view what, std::size_t longest) {
    const json* const value = object.find(name);
    if (value == nullptr) return std::string();
    if (!value->is(json::kind::text)) return fail(error_kind::corrupt, fmt::format("{}: {} is no text", what, name));
    if (value->text().size() > longest)
        return fail(error_kind::corrupt, fmt::format("{}: {} is longer than {} bytes", what, name, longest));
    return std::string(value->text());
}

result<platform> read_platform(const json& value, std::string_view what) {
    if (!value.is(json::kind::object)) return fail(error_kind::corrupt, fmt::format("{}: platform is no object", what));
    platform p;
    NEROFS_TRY(p.os, read_text(value, "os", what, longest_platform_word));
    NEROFS_TRY(p.architecture, read_text(value, "architecture", what, longest_platform_word));
    NEROFS_TRY(p.variant, read_text(value, "variant", what, longest_platform_word));
    NEROFS_TRY(p.os_version, read_text(value, "os.version", what, longest_platform_word));
    if (const json* const features = value.find("os.features")) {
        const bool sound = features->is(json::kind::list) && features->items().size() <= os_features_cap &&
                           std::all_of(features->items().begin(), features->items().end(), [](const json& feature) {
                               return feature.is(json::kind::text) && feature.text().size() <= longest_platform_word;
                           });
        if (!sound) return fail(error_kind::corrupt, fmt::format("{}: os.features is no short list of texts", what));
        for (const json& feature : features->items()) p.os_features.emplace_back(feature.text());
    }
    return p;
}

}  // namespace

std::string media_type_of(std::string_view text) {
    return lower_case(trimmed(text.substr(0, text.find(';'))));
}

result<annotation_map> read_annotations(const json& object, std::string_view what) {
    annotation_map map;
    const json* const annotations = object.find("annotations");
    if (annotations == nullptr) return map;
    if (!annotations->is(json::kind::object))
        return fail(error_kind::corrupt, fmt::format("{}: annotations is no object", what));
    if (annotations->members().size() > annotations_cap)
        return fail(error_kind::corrupt, fmt::format("{}: has more than {} annotations", what, annotations_cap));
    for (const auto& [name, value] : annotations->members()) {
        if (!value.is(json::kind::text))
            return fail(error_kind::corrupt, fmt::format("{}: the annotation {} is no text", what, quoted(name)));
        map.emplace(name, value.text());
    }
    return map;
}

result<descriptor> read_descriptor(const json& value, std::string_view what) {
    const auto wrong = [&](std::string_view why) {
        return fail(error_kind::corrupt, fmt::format("{}: {}", what, why));
    };
    if (!value.is(json::kind::object)) return wrong("is no object");
    descriptor d;
    NEROFS_TRY(const std::string type, read_text(value, "mediaType", what, longest_media_type));
    d.media_type = media_type_of(type);
    if (!only(d.media_type, is_visible)) return wrong("has no media type");
    NEROFS_TRY(const std::string digest_text, read_text(value, "digest", what, 255));
    if (digest_text.empty()) return wrong("has no digest");
    auto named = parse_digest(digest_text);
    if (!named) return fail(std::move(named).error().in(what));
    d.digest = std::move(*named);
    const json* const size = value.find("size");
    if (size == nullptr) return wrong("has no size");
    const auto number = size->whole_number();
    if (!number || *number > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max()))
        return wrong("its size is not a number of bytes");
    d.size = *number;
    NEROFS_TRY(d.annotations, read_annotations(value, what));
    NEROFS_TRY(d.artifact_type, read_text(value, "artifactType", what, longest_media_type));
    if (const json* const p = value.find("platform")) {
        NEROFS_TRY(d.platform, read_platform(*p, what));
    }
    return d;
}

}  // namespace nerofs::oci
