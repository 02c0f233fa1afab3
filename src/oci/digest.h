// Digests as text: the names of blobs and manifests (OCI image specification, "Digests").
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"

namespace nerofs::oci {

enum class digest_algorithm : std::uint8_t { sha256, sha512 };

struct digest {
    digest_algorithm algorithm = digest_algorithm::sha256;
    std::string hex;  // 64 or 128 lower-case digits

    std::string to_string() const;  // "sha256:<hex>"
    friend bool operator==(const digest&, const digest&) = default;
};

// "sha256:<64 lower-case hex digits>" or the same with sha512 and 128. Errors: unsupported for another algorithm, else
// corrupt.
result<digest> parse_digest(std::string_view text);

}  // namespace nerofs::oci
