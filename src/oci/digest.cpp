#include "oci/digest.h"

#include <fmt/format.h>

#include "oci/text.h"

namespace nerofs::oci {
namespace {

constexpr std::size_t hex_digits(digest_algorithm algorithm) {
    return algorithm == digest_algorithm::sha256 ? 64 : 128;
}

constexpr std::string_view name_of(digest_algorithm algorithm) {
    return algorithm == digest_algorithm::sha256 ? "sha256" : "sha512";
}

}  // namespace

std::string digest::to_string() const {
    return fmt::format("{}:{}", name_of(algorithm), hex);
}

result<digest> parse_digest(std::string_view text) {
    const std::size_t colon = text.find(':');
    const auto wrong = [&](std::string_view why) {
        return fail(error_kind::corrupt, fmt::format("digest {}: {}", quoted(text), why));
    };
    if (colon == std::string_view::npos) return wrong("must be sha256: and 64 hex digits");
    const std::string_view algorithm = text.substr(0, colon);
    const std::string_view hex = text.substr(colon + 1);
    for (const digest_algorithm known : {digest_algorithm::sha256, digest_algorithm::sha512}) {
        if (algorithm != name_of(known)) continue;
        if (hex.size() != hex_digits(known))
            return wrong(
                fmt::format("has {} digits behind {}:, must have {}", hex.size(), algorithm, hex_digits(known)));
        if (!only(hex, is_lower_hex)) return wrong("must be lower-case hex digits");
        return digest{known, std::string(hex)};
    }
    const auto letter = [](char c) {
        return is_lower(c) || is_digit(c) || c == '+' || c == '.' || c == '_' || c == '-';
    };
    if (!only(algorithm, letter)) return wrong("must be sha256: and 64 hex digits");
    return fail(error_kind::unsupported, fmt::format("digest {}: only sha256 and sha512 are known", quoted(text)));
}

}  // namespace nerofs::oci
