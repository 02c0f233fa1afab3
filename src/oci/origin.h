// Where a URL leads, as far as credentials are concerned: scheme, host and port.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace nerofs::oci {

struct origin {
    bool secure = true;     // https
    std::string authority;  // HOST:PORT, lower case, the port always there; IPv6 in brackets
    friend bool operator==(const origin&, const origin&) = default;
};

// Of an absolute http or https URL. nullopt for everything else: another scheme, a user or password before the host, an
// empty or malformed host, a byte that isn't visible ASCII.
std::optional<origin> origin_of(std::string_view url);

// Of a registry, "HOST" or "HOST:PORT".
origin registry_origin(std::string_view authority, bool secure);

}  // namespace nerofs::oci
