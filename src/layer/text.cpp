#include "layer/text.h"

#include <fmt/format.h>

namespace nerofs::layer {
namespace {

constexpr std::size_t shown_bytes = 100;

}  // namespace

std::string shown(std::string_view path) {
    std::string out = "'";
    for (const char c : path.substr(0, shown_bytes)) {
        const auto byte = static_cast<unsigned char>(c);
        out += byte < 0x20 || byte >= 0x7f ? fmt::format("\\x{:02x}", byte) : std::string(1, c);
    }
    return out + (path.size() > shown_bytes ? "…'" : "'");
}

}  // namespace nerofs::layer
