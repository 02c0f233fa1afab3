// ASCII's letters, whatever the locale says.
#pragma once

#include <algorithm>
#include <string_view>

namespace nerofs {

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

// Not empty, and all of it allowed.
constexpr bool only(std::string_view text, bool (*allowed)(char)) {
    return !text.empty() && std::all_of(text.begin(), text.end(), allowed);
}

}  // namespace nerofs
