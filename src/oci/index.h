// Image indexes (Docker: manifest lists): the manifests of one image for several platforms.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "base/result.h"
#include "oci/descriptor.h"

namespace nerofs::oci {

constexpr std::size_t manifests_cap = 4096;
// An index may point at indexes; the levels a client follows.
constexpr std::size_t index_depth_cap = 4;

struct image_index {
    std::string media_type;
    std::vector<descriptor> manifests;
    annotation_map annotations;
    friend bool operator==(const image_index&, const image_index&) = default;
};

// The number of the manifest (or nested index) that suits `wanted` best: the nearest variant, then the one with EROFS
// layers (os.features "erofs"), then the first. Attestations and other things that aren't images don't count. An entry
// that doesn't say its platform is taken when it is the only image there is. Error: not_found, listing what there is.
result<std::size_t> select_manifest(const image_index& index, const platform& wanted);

}  // namespace nerofs::oci
