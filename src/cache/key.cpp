#include "cache/key.h"

#include <charconv>

#include "cache/presence/geometry.h"

namespace nerofs::cache {
namespace {

constexpr std::size_t hex_digits = 64;

bool is_lower_hex(std::string_view text) {
    return text.size() == hex_digits && text.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

}  // namespace

result<blob_key> blob_key::from_digest(std::string_view digest, std::uint64_t size) {
    constexpr std::string_view prefix = "sha256:";
    if (!digest.starts_with(prefix) || !is_lower_hex(digest.substr(prefix.size())))
        return fail(error_kind::usage, "a blob's name must be sha256: and 64 lower-case digits");
    return from_name("sha256-" + std::string(digest.substr(prefix.size())) + "-" + std::to_string(size));
}

result<blob_key> blob_key::from_name(std::string_view name) {
    const auto no_key = [] { return fail(error_kind::usage, "not the name of a cached blob"); };
    std::string_view rest = name;
    for (const std::string_view prefix : {"sha256-", "url-"}) {
        if (!rest.starts_with(prefix)) continue;
        rest.remove_prefix(prefix.size());
        break;
    }
    if (rest.size() == name.size() || rest.size() < hex_digits + 2 || !is_lower_hex(rest.substr(0, hex_digits)) ||
        rest[hex_digits] != '-')
        return no_key();
    rest.remove_prefix(hex_digits + 1);
    blob_key key;
    const auto [end, code] = std::from_chars(rest.data(), rest.data() + rest.size(), key.size_);
    if (code != std::errc() || end != rest.data() + rest.size() || rest[0] == '0') return no_key();
    if (key.size_ > max_blob_bytes)
        return fail(error_kind::usage, "a blob of " + std::string(rest) + " bytes is too large to be cached");
    key.name_ = name;
    return key;
}

std::string blob_key::digest() const {
    if (!name_.starts_with("sha256-")) return {};
    return "sha256:" + name_.substr(7, hex_digits);
}

}  // namespace nerofs::cache
