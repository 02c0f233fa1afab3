// Small help for error texts: user input made fit for one line, and the word the user probably meant.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "base/ascii.h"

namespace nerofs::cli {

// 'text' in single quotes, on one line and of bounded length: control bytes become \xNN, long texts are cut with "...".
// For anything that came from outside; never for a secret.
std::string quoted(std::string_view text);

// The candidate that differs from `word` by the fewest slips of a typist, or an empty view when none is near enough.
std::string_view nearest(std::string_view word, std::span<const std::string_view> candidates);

// "did you mean 'nbd.timeout'?", or an empty text when nothing is near.
std::string did_you_mean(std::string_view word, std::span<const std::string_view> candidates);

constexpr bool is_graphic(char c) {
    return static_cast<unsigned char>(c) > ' ' && c != 0x7f;
}

}  // namespace nerofs::cli
