// Descriptors: how manifests and indexes point at bytes (OCI image specification, "Content Descriptors").
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "oci/digest.h"
#include "oci/platform.h"

namespace nerofs::oci {

using annotation_map = std::map<std::string, std::string, std::less<>>;

struct descriptor {
    std::string media_type;
    oci::digest digest;
    std::uint64_t size = 0;  // bytes; below 2^63
    annotation_map annotations;
    std::optional<oci::platform> platform;
    std::string artifact_type;
    friend bool operator==(const descriptor&, const descriptor&) = default;
};

constexpr std::size_t longest_media_type = 255;  // RFC 6838: two names of 127
constexpr std::size_t annotations_cap = 1024;    // of one descriptor or manifest
constexpr std::size_t os_features_cap = 64;

// Lower case, without parameters ("application/json; charset=utf-8" is application/json).
std::string media_type_of(std::string_view text);

}  // namespace nerofs::oci
