// The bytes that a registry gives for a reference: a manifest or an index, parsed and checked. No I/O.
#pragma once

#include <cstddef>
#include <span>
#include <string_view>
#include <variant>

#include "base/result.h"
#include "oci/index.h"
#include "oci/manifest.h"

namespace nerofs::oci {

// The least that the distribution specification wants registries to take, and the most they do take.
constexpr std::size_t document_bytes_cap = 4u << 20;

using document = std::variant<image_manifest, image_index>;

// `content_type` is the answer's header, or empty; what the document says of itself counts more, but if it contradicts,
// or if the document has the shape of both, it is refused (CVE-2021-41190). Without any media type the shape decides.
// Errors: corrupt; unsupported for Docker's schema 1 and other things that aren't images, by name.
result<document> parse_document(std::span<const std::byte> bytes, std::string_view content_type);

}  // namespace nerofs::oci
