#include "oci/manifest.h"

#include <array>
#include <utility>

namespace nerofs::oci {

layer_type layer_type_of(std::string_view media_type) {
    using f = layer_format;
    using c = layer_compression;
    struct known {
        std::string_view name;
        layer_type type;
    };
    static constexpr std::array all{
        known{"application/vnd.erofs", {f::erofs, c::none, false}},
        known{"application/vnd.erofs+zstd", {f::erofs, c::zstd, false}},
        known{"application/vnd.erofs.layer.v1", {f::erofs, c::none, false}},
        known{"application/vnd.erofs.layer.v1+zstd", {f::erofs, c::zstd, false}},
        known{"application/vnd.oci.image.layer.v1.tar", {f::tar, c::none, false}},
        known{"application/vnd.oci.image.layer.v1.tar+gzip", {f::tar, c::gzip, false}},
        known{"application/vnd.oci.image.layer.v1.tar+zstd", {f::tar, c::zstd, false}},
        known{"application/vnd.oci.image.layer.nondistributable.v1.tar", {f::tar, c::none, true}},
        known{"application/vnd.oci.image.layer.nondistributable.v1.tar+gzip", {f::tar, c::gzip, true}},
        known{"application/vnd.oci.image.layer.nondistributable.v1.tar+zstd", {f::tar, c::zstd, true}},
        known{"application/vnd.docker.image.rootfs.diff.tar", {f::tar, c::none, false}},
        known{"application/vnd.docker.image.rootfs.diff.tar.gzip", {f::tar, c::gzip, false}},
        known{"application/vnd.docker.image.rootfs.diff.tar.zstd", {f::tar, c::zstd, false}},
        known{"application/vnd.docker.image.rootfs.foreign.diff.tar", {f::tar, c::none, true}},
        known{"application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", {f::tar, c::gzip, true}},
        known{"application/vnd.docker.image.rootfs.foreign.diff.tar.zstd", {f::tar, c::zstd, true}},
    };
    const std::string type = media_type_of(media_type);
    for (const known& k : all)
        if (k.name == type) return k.type;
    return {};
}

erofs_role erofs_role_of(const annotation_map& annotations) {
    const auto role = annotations.find("org.erofs.role");
    if (role == annotations.end()) return erofs_role::none;
    if (role->second == "device") return erofs_role::device;
    if (role->second == "overlay-lower") return erofs_role::overlay_lower;
    if (role->second == "overlay-data") return erofs_role::overlay_data;
    return erofs_role::unknown;
}

}  // namespace nerofs::oci
