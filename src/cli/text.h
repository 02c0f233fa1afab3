// Small help for error texts: user input made fit for one line, and the word the user probably
// meant; also ASCII's letters, which must not depend on a locale.
#pragma once

#include <algorithm>
#include <span>
#include <string>
#include <string_view>

namespace nerofs::cli {

// 'text' in single quotes, on one line and of bounded length: control bytes become \xNN, long texts are cut with "...".
// For anything that came from outside; never for a secret.
std::string quoted(std::string_view text);

// The candidate that differs from `word` by the fewest slips of a typist, or an empty view when none is near enough.
std::string_view nearest(std::string_view word, std::span<const std::string_view> candidates);

// "did you mean 'nbd.timeout'?", or an empty text when nothing is near.
std::string did_you_mean(std::string_view word, std::span<const std::string_view> candidates);

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
constexpr bool is_graphic(char c) {
    return static_cast<unsigned char>(c) > ' ' && c != 0x7f;
}

// Not empty, and all of it allowed.
constexpr bool only(std::string_view text, bool (*allowed)(char)) {
    return !text.empty() && std::all_of(text.begin(), text.end(), allowed);
}

}  // namespace nerofs::cli
