// What people call an image: [REGISTRY/]NAME[:TAG][@DIGEST]. Pure text; the grammar is that of the OCI distribution
// specification and of github.com/distribution/reference, a little wider in the separators inside of a name.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"

namespace nerofs::oci {

struct reference {
    std::string registry;    // "docker.io", "localhost:5000", "[::1]:5000"; lower case
    std::string repository;  // "library/debian"
    std::string tag;         // "latest" when neither tag nor digest was given
    std::string digest;      // "sha256:<hex>", "sha512:<hex>" or empty; when given it decides, not the tag
    friend bool operator==(const reference&, const reference&) = default;
};

// "debian" is docker.io/library/debian:latest. The first part is a registry when it has a dot or a colon or is
// "localhost". Docker Hub is "docker.io", by whichever of its names it was given. Error: usage, one line; what could be
// a password (user:password@host) isn't shown.
result<reference> parse_reference(std::string_view text);

// The canonical text: every part that there is, and parse_reference() reads the same from it.
std::string to_string(const reference& image);

// "docker.io/library/debian", what credentials are looked up for.
std::string repository_name(const reference& image);

// Where the registry's API is: HOST or HOST:PORT. registry-1.docker.io for docker.io.
std::string api_host(const reference& image);

// What names the manifest in the registry's API: the digest, else the tag.
const std::string& manifest_name(const reference& image);

// Whether the host of "HOST[:PORT]" is this machine: localhost, 127.0.0.0/8, [::1]. Names aren't looked up.
bool is_loopback(std::string_view authority);

}  // namespace nerofs::oci
