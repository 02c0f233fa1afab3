#include "oci/text.h"

#include <fmt/format.h>

#include <array>

namespace nerofs::oci {
namespace {

constexpr std::size_t longest_shown = 160;

}  // namespace

std::string shown(std::string_view text) {
    const bool cut = text.size() > longest_shown;
    std::string out;
    for (const char c : text.substr(0, longest_shown)) {
        if (c >= ' ' && c < 0x7f)
            out += c;
        else
            out += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
    }
    if (cut) out += "...";
    return out;
}

std::string quoted(std::string_view text) {
    return "'" + shown(text) + "'";
}

std::string size_text(std::uint64_t bytes) {
    if (bytes < 1000) return fmt::format("{} B", bytes);
    constexpr std::array units{"kB", "MB", "GB", "TB", "PB", "EB"};
    std::size_t unit = 0;
    std::uint64_t divisor = 1000;
    while (unit + 1 < units.size() && bytes / divisor >= 1000) {
        divisor *= 1000;
        ++unit;
    }
    // The tenths are cut, not rounded: 999.96 kB stays below 1.0 MB.
    return fmt::format("{}.{} {}", bytes / divisor, bytes % divisor / (divisor / 10), units[unit]);
}

std::string lower_case(std::string_view text) {
    std::string out(text);
    for (char& c : out)
        if (is_upper(c)) c = static_cast<char>(c - 'A' + 'a');
    return out;
}

std::string_view trimmed(std::string_view text) {
    constexpr std::string_view blanks = " \t\r\n";
    const std::size_t first = text.find_first_not_of(blanks);
    if (first == std::string_view::npos) return {};
    return text.substr(first, text.find_last_not_of(blanks) - first + 1);
}

}  // namespace nerofs::oci
