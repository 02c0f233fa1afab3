// Image manifests: the layers of one image, and what kind of bytes each is.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "oci/descriptor.h"

namespace nerofs::oci {

// Far more than overlayfs or any builder takes.
constexpr std::size_t layers_cap = 1024;

enum class layer_format : std::uint8_t { erofs, tar, other };
enum class layer_compression : std::uint8_t { none, gzip, zstd };

struct layer_type {
    layer_format format = layer_format::other;
    layer_compression compression = layer_compression::none;
    bool foreign = false;  // "non-distributable": the registry may not have it
    friend bool operator==(const layer_type&, const layer_type&) = default;
};

// OCI's and Docker's tar layers; EROFS as in the draft of erofs-image-spec (application/vnd.erofs[+zstd]) and as
// containerd's erofs snapshotter first wrote it (application/vnd.erofs.layer.v1[+zstd]).
layer_type layer_type_of(std::string_view media_type);

// org.erofs.role of the same draft. `device`: metadata for the next EROFS layer or tar behind it.
enum class erofs_role : std::uint8_t { none, device, overlay_lower, overlay_data, unknown };
erofs_role erofs_role_of(const annotation_map& annotations);

struct image_layer {
    descriptor blob;
    layer_type type;
    erofs_role role = erofs_role::none;
    // org.erofs.uncompressed-digest: of the image in application/vnd.erofs+zstd.
    std::optional<digest> uncompressed;
    friend bool operator==(const image_layer&, const image_layer&) = default;
};

struct image_manifest {
    std::string media_type;  // of the two there are; by its shape when the manifest doesn't say
    std::optional<descriptor> config;
    std::vector<image_layer> layers;  // the lowest first
    annotation_map annotations;
    std::string artifact_type;
    friend bool operator==(const image_manifest&, const image_manifest&) = default;
};

}  // namespace nerofs::oci
