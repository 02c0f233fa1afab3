#include "oci/index.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <tuple>

#include "oci/media_types.h"
#include "oci/text.h"

namespace nerofs::oci {
namespace {

constexpr std::size_t listed_at_most = 24;

// Build tools put attestations and signatures beside the images they belong to.
bool is_image(const descriptor& entry) {
    if (!media_types::is_manifest(entry.media_type) && !media_types::is_index(entry.media_type)) return false;
    if (entry.annotations.find("vnd.docker.reference.type") != entry.annotations.end()) return false;
    return !entry.platform || entry.platform->os != "unknown";
}

bool says_platform(const descriptor& entry) {
    return entry.platform && !entry.platform->os.empty() && !entry.platform->architecture.empty();
}

bool has_erofs(const descriptor& entry) {
    const auto& features = entry.platform->os_features;
    return std::find(features.begin(), features.end(), "erofs") != features.end();
}

std::string list_of(const image_index& index) {
    std::vector<std::string> names;
    for (const descriptor& entry : index.manifests) {
        if (!is_image(entry)) continue;
        std::string name = says_platform(entry) ? shown(to_string(*entry.platform)) : "one without a platform";
        if (entry.platform && !entry.platform->os_version.empty())
            name += fmt::format(" ({})", shown(entry.platform->os_version));
        if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(std::move(name));
    }
    if (names.empty()) return "no image at all";
    const std::size_t more = names.size() > listed_at_most ? names.size() - listed_at_most : 0;
    names.resize(names.size() - more);
    return more == 0 ? fmt::format("{}", fmt::join(names, ", "))
                     : fmt::format("{} and {} more", fmt::join(names, ", "), more);
}

}  // namespace

result<std::size_t> select_manifest(const image_index& index, const platform& wanted) {
    using rank = std::tuple<unsigned, bool>;
    std::optional<std::size_t> best;
    rank best_rank{};
    std::size_t images = 0;
    std::size_t last_image = 0;
    for (std::size_t i = 0; i < index.manifests.size(); ++i) {
        const descriptor& entry = index.manifests[i];
        if (!is_image(entry)) continue;
        ++images;
        last_image = i;
        if (!says_platform(entry)) continue;
        const auto far = distance(wanted, *entry.platform);
        if (!far) continue;
        const rank r{*far, !has_erofs(entry)};
        if (best && best_rank <= r) continue;
        best = i;
        best_rank = r;
    }
    if (best) return *best;
    if (images == 1 && !says_platform(index.manifests[last_image])) return last_image;
    error e = make_error(error_kind::not_found, fmt::format("there is no image for {}; there is {}",
                                                            shown(to_string(wanted)), list_of(index)));
    if (images == 0) return fail(std::move(e));
    return fail(std::move(e).with_hint("choose one with -o oci.platform=OS/ARCH[/VARIANT]"));
}

}  // namespace nerofs::oci
