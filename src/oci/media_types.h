// The media types of images, in lower case. OCI image specification; Docker image manifest version 2, schema 2.
#pragma once

#include <array>
#include <string_view>

namespace nerofs::oci::media_types {

constexpr std::string_view oci_manifest = "application/vnd.oci.image.manifest.v1+json";
constexpr std::string_view oci_index = "application/vnd.oci.image.index.v1+json";
constexpr std::string_view docker_manifest = "application/vnd.docker.distribution.manifest.v2+json";
constexpr std::string_view docker_list = "application/vnd.docker.distribution.manifest.list.v2+json";

// What a client must say it takes; else registries convert or refuse.
constexpr std::string_view accepted =
    "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, "
    "application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.docker.distribution.manifest.v2+json";

// Refused, by name.
constexpr std::string_view docker_schema1 = "application/vnd.docker.distribution.manifest.v1+json";
constexpr std::string_view docker_schema1_signed = "application/vnd.docker.distribution.manifest.v1+prettyjws";
constexpr std::string_view oci_artifact = "application/vnd.oci.artifact.manifest.v1+json";

constexpr bool is_manifest(std::string_view type) {
    return type == oci_manifest || type == docker_manifest;
}
constexpr bool is_index(std::string_view type) {
    return type == oci_index || type == docker_list;
}
constexpr bool is_schema1(std::string_view type) {
    return type == docker_schema1 || type == docker_schema1_signed;
}

}  // namespace nerofs::oci::media_types
