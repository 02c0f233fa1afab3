#include "oci/reference.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <cstdint>

#include "oci/digest.h"
#include "oci/text.h"

namespace nerofs::oci {
namespace {

constexpr std::size_t longest_repository = 255;
constexpr std::size_t longest_tag = 128;
constexpr std::size_t longest_host = 253;    // of DNS
constexpr std::size_t longest_address = 45;  // ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255
constexpr std::string_view hub = "docker.io";

bool is_port(std::string_view text) {
    std::uint16_t number = 0;
    const char* const end = text.data() + text.size();
    const auto [stop, failed] = std::from_chars(text.data(), end, number);
    return failed == std::errc() && stop == end && number != 0;
}

// HOST, HOST:PORT, [ADDRESS] or [ADDRESS]:PORT.
bool is_authority(std::string_view text) {
    std::string_view port;
    if (text.starts_with('[')) {
        const auto is_address = [](char c) {
            return is_lower_hex(c) || (c >= 'A' && c <= 'F') || c == ':' || c == '.';
        };
        const std::size_t end = text.find(']');
        if (end == std::string_view::npos || end - 1 > longest_address) return false;
        if (!only(text.substr(1, end - 1), is_address)) return false;
        port = text.substr(end + 1);
    } else {
        const auto is_host = [](char c) { return is_word(c) || c == '-' || c == '.'; };
        const std::size_t colon = std::min(text.find(':'), text.size());
        const std::string_view host = text.substr(0, colon);
        if (host.size() > longest_host || !only(host, is_host) || !is_word(host.front()) || !is_word(host.back()))
            return false;
        port = text.substr(colon);
    }
    return port.empty() || (port[0] == ':' && is_port(port.substr(1)));
}

// Why it is no repository; empty when it is one.
std::string_view complaint_about_name(std::string_view name) {
    if (name.empty()) return "there is no name";
    if (name.size() > longest_repository) return "the name is longer than 255 characters";
    while (true) {
        const std::size_t slash = std::min(name.find('/'), name.size());
        const std::string_view part = name.substr(0, slash);
        const auto alphanumeric = [](char c) { return is_digit(c) || is_lower(c); };
        const auto allowed = [](char c) { return is_digit(c) || is_lower(c) || c == '.' || c == '_' || c == '-'; };
        if (part.empty()) return "the name has an empty part between slashes";
        if (std::any_of(part.begin(), part.end(), is_upper)) return "the name must be in lower-case letters";
        if (!only(part, allowed)) return "the name may hold lower-case letters, digits and . _ - / only";
        if (!alphanumeric(part.front()) || !alphanumeric(part.back()))
            return "each part of the name must begin and end with a letter or digit";
        if (slash == name.size()) return {};
        name.remove_prefix(slash + 1);
    }
}

std::string_view complaint_about_tag(std::string_view tag) {
    const auto allowed = [](char c) { return is_word(c) || c == '.' || c == '-'; };
    if (tag.empty()) return "there is no tag behind the colon";
    if (tag.size() > longest_tag) return "the tag is longer than 128 characters";
    if (!only(tag, allowed)) return "a tag may hold letters, digits and . _ - only";
    if (!is_word(tag[0])) return "a tag must not begin with '.' or '-'";
    return {};
}

// As Docker decides it, but for its rule that a capital letter makes a registry: that makes a host of every name
// written in the wrong case.
bool names_registry(std::string_view first_part) {
    return first_part.find_first_of(".:") != std::string_view::npos || lower_case(first_part) == "localhost";
}

}  // namespace

result<reference> parse_reference(std::string_view text) {
    const auto wrong = [&](std::string_view why) {
        return fail(make_error(error_kind::usage, fmt::format("image {}: {}", quoted(text), why))
                        .with_hint("an image is [REGISTRY/]NAME[:TAG][@sha256:HEX]"));
    };
    std::string_view rest = text;
    reference image;
    if (const std::size_t at = rest.find('@'); at != std::string_view::npos) {
        const std::string_view behind = rest.substr(at + 1);
        // What looks like credentials before a host isn't shown.
        if (!behind.starts_with("sha256:") && !behind.starts_with("sha512:"))
            return fail(error_kind::usage, "image: '@' must be followed by sha256: and 64 hex digits");
        if (const auto named = parse_digest(behind); !named)
            return wrong(behind.starts_with("sha256:") ? "the digest is not sha256: and 64 hex digits"
                                                       : "the digest is not sha512: and 128 hex digits");
        image.digest = behind;
        rest = rest.substr(0, at);
    }
    // A colon behind the last slash begins a tag; one before it belongs to the registry's port.
    const std::size_t slash = rest.rfind('/');
    const std::size_t colon = rest.rfind(':');
    if (colon != std::string_view::npos && (slash == std::string_view::npos || colon > slash)) {
        image.tag = rest.substr(colon + 1);
        if (const auto why = complaint_about_tag(image.tag); !why.empty()) return wrong(why);
        rest = rest.substr(0, colon);
    }
    image.registry = hub;
    const std::string_view first = rest.substr(0, rest.find('/'));
    if (first.size() < rest.size() && names_registry(first)) {
        if (!is_authority(first)) return wrong("the registry is not HOST or HOST:PORT");
        image.registry = lower_case(first);
        if (image.registry == "index.docker.io" || image.registry == "registry-1.docker.io") image.registry = hub;
        rest.remove_prefix(first.size() + 1);
    }
    const bool official = image.registry == hub && !rest.empty() && rest.find('/') == std::string_view::npos;
    image.repository = (official ? "library/" : "") + std::string(rest);
    if (const auto why = complaint_about_name(image.repository); !why.empty()) return wrong(why);
    if (image.tag.empty() && image.digest.empty()) image.tag = "latest";
    return image;
}

std::string to_string(const reference& image) {
    std::string text = repository_name(image);
    if (!image.tag.empty()) text += ":" + image.tag;
    if (!image.digest.empty()) text += "@" + image.digest;
    return text;
}

std::string repository_name(const reference& image) {
    return image.registry + "/" + image.repository;
}

std::string api_host(const reference& image) {
    return image.registry == hub ? "registry-1.docker.io" : image.registry;
}

const std::string& manifest_name(const reference& image) {
    return image.digest.empty() ? image.tag : image.digest;
}

bool is_loopback(std::string_view authority) {
    if (authority.starts_with('[')) return authority == "[::1]" || authority.starts_with("[::1]:");
    const std::string host = lower_case(authority.substr(0, authority.find(':')));
    if (host == "localhost") return true;
    // Four decimal numbers, so that 127.evil.example is not this machine.
    const auto numeric = [](char c) { return is_digit(c) || c == '.'; };
    return host.starts_with("127.") && only(host, numeric) && std::count(host.begin(), host.end(), '.') == 3;
}

}  // namespace nerofs::oci
