// Text from registries, files and people, made fit for errors; and ASCII's letters, which must not depend on a locale.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace nerofs::oci {

// 'text' in single quotes, on one line and of bounded length: control bytes and what isn't ASCII become \xNN, long
// texts are cut with "...". For anything that came from outside; never for a secret.
std::string quoted(std::string_view text);
// The same without the quotes, for lists of names.
std::string shown(std::string_view text);

// 1234567 as "1.2 MB": powers of ten, one digit behind the point, bytes up to 999 whole.
std::string size_text(std::uint64_t bytes);

constexpr bool is_digit(char c) {
    return c >= '0' && c <= '9';
}
constexpr bool is_lower(char c) {
    return c >= 'a' && c <= 'z';
}
constexpr bool is_upper(char c) {
    return c >= 'A' && c <= 'Z';
}
constexpr bool is_lower_hex(char c) {
    return is_digit(c) || (c >= 'a' && c <= 'f');
}
constexpr bool is_word(char c) {
    return is_digit(c) || is_lower(c) || is_upper(c) || c == '_';
}
// Printable ASCII but the space.
constexpr bool is_visible(char c) {
    return c > ' ' && c < 0x7f;
}

// Not empty, and all of it allowed.
constexpr bool only(std::string_view text, bool (*allowed)(char)) {
    return !text.empty() && std::all_of(text.begin(), text.end(), allowed);
}

std::string lower_case(std::string_view text);
std::string_view trimmed(std::string_view text);  // without blanks, tabs and line ends on either side

}  // namespace nerofs::oci
