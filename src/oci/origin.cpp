#include "oci/origin.h"

#include <algorithm>
#include <charconv>
#include <cstdint>

#include "oci/text.h"

namespace nerofs::oci {
namespace {

bool is_host(std::string_view host) {
    if (host.starts_with('[')) {
        const auto address = [](char c) { return is_lower_hex(c) || c == ':' || c == '.'; };
        return host.size() > 2 && host.back() == ']' && only(host.substr(1, host.size() - 2), address);
    }
    const auto letter = [](char c) { return is_lower(c) || is_digit(c) || c == '.' || c == '-' || c == '_'; };
    return only(host, letter) && is_word(host.front()) && is_word(host.back());
}

std::optional<origin> from_authority(std::string_view text, bool secure) {
    const std::string authority = lower_case(text);
    const std::size_t bracket = authority.find(']');
    const std::size_t colon = authority.find(':', bracket == std::string::npos ? 0 : bracket);
    const std::string host = authority.substr(0, colon);
    if (!is_host(host)) return std::nullopt;
    std::uint16_t port = secure ? 443 : 80;
    if (colon != std::string::npos) {
        const char* const end = authority.data() + authority.size();
        const auto [stop, failed] = std::from_chars(authority.data() + colon + 1, end, port);
        if (failed != std::errc() || stop != end || port == 0) return std::nullopt;
    }
    return origin{secure, host + ":" + std::to_string(port)};
}

}  // namespace

std::optional<origin> origin_of(std::string_view url) {
    if (!only(url, is_visible)) return std::nullopt;
    const std::size_t colon = url.find("://");
    if (colon == std::string_view::npos) return std::nullopt;
    const std::string scheme = lower_case(url.substr(0, colon));
    if (scheme != "https" && scheme != "http") return std::nullopt;
    url.remove_prefix(colon + 3);
    // A backslash ends the host for some readers of URLs and not for others; it isn't allowed in a host anyway.
    return from_authority(url.substr(0, url.find_first_of("/?#")), scheme == "https");
}

origin registry_origin(std::string_view authority, bool secure) {
    return from_authority(authority, secure).value_or(origin{secure, {}});
}

}  // namespace nerofs::oci
