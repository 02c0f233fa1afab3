// Which layer of an image is meant.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include "base/result.h"
#include "oci/manifest.h"

namespace nerofs::oci {

// What the user said: at most one of the two.
struct layer_choice {
    std::optional<std::uint32_t> number;  // oci.layer, from 0
    std::optional<digest> blob;           // oci.blob
};

// The number of the layer. Without a choice it is the only one. Errors: usage when there are several and none was
// chosen, not_found when the chosen one isn't there; both list the layers in one line.
result<std::size_t> select_layer(const image_manifest& manifest, const layer_choice& choice);

}  // namespace nerofs::oci
