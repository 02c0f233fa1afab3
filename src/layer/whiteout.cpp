#include "layer/tar_entry.h"

namespace nerofs::layer {
namespace {

constexpr std::string_view prefix = ".wh.";

}  // namespace

whiteout whiteout_of(std::string_view name) {
    if (!name.starts_with(prefix) || name.size() == prefix.size()) return whiteout::none;
    if (name == ".wh..wh..opq") return whiteout::opaque;
    if (name.starts_with(".wh..wh.")) return whiteout::other;
    // ".wh.." and ".wh..." would remove the directory they are in, or its parent.
    const std::string_view removed = removed_name(name);
    return removed == "." || removed == ".." ? whiteout::other : whiteout::remove;
}

std::string_view removed_name(std::string_view name) {
    return name.substr(prefix.size());
}

}  // namespace nerofs::layer
