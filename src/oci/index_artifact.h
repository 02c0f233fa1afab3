// What lies beside an image in its registry: the artifact with nerofs' indexes of its layers (docs/layer-index.md), and
// the lists of an image's referrers. Pure.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "oci/descriptor.h"
#include "oci/digest.h"

namespace nerofs::oci {

// Of the artifact and of each file in it.
inline constexpr std::string_view layer_index_type = "application/vnd.nerofs.layer-index.v1";

// The config of an artifact that needs none.
inline constexpr std::string_view empty_config = "{}";

struct layer_index_blob {
    std::string layer;  // the digest of the layer that it is for
    oci::digest digest;
    std::uint64_t size = 0;
    friend bool operator==(const layer_index_blob&, const layer_index_blob&) = default;
};

// The artifact's manifest, and back. Errors: corrupt, when it is no such artifact, or another image's.
std::string write_index_artifact(const descriptor& subject, const std::vector<layer_index_blob>& indexes);
result<std::vector<layer_index_blob>> read_index_artifact(std::span<const std::byte> manifest, const digest& subject);

// Those of a list of referrers (an image index) that are of that artifact type. Errors: corrupt.
result<std::vector<descriptor>> read_referrers(std::span<const std::byte> list, std::string_view artifact_type);
// The list (none when empty) with one more at its end; what else is in it stays. Errors: corrupt.
result<std::string> add_referrer(std::span<const std::byte> list, const descriptor& which);
// The tag of the list where the registry keeps none itself: "sha256-<hex>".
std::string referrers_tag(const digest& subject);

// rootfs.diff_ids of an image's config, the lowest layer first. Errors: corrupt.
result<std::vector<std::string>> read_diff_ids(std::span<const std::byte> config);

}  // namespace nerofs::oci
