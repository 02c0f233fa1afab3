// Names what a file that isn't an EROFS image probably is, so that its owner learns more than "no".
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string_view>

namespace nerofs::fetch {

struct known_format {
    std::string_view name;  // with its article: "gzip data", "a squashfs image"; static text
    std::string_view hint;  // what to do about it; static text, may be empty
};

// How many first bytes looks_like() makes use of.
constexpr std::size_t looks_like_bytes = 4096;

// Judges by signatures alone; fewer bytes recognise less. Never an EROFS image. Pure.
std::optional<known_format> looks_like(std::span<const std::byte> first_bytes);

}  // namespace nerofs::fetch
