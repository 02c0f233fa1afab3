// How paths of an archive are shown in errors, which are one line of plain text.
#pragma once

#include <string>
#include <string_view>

namespace nerofs::layer {

// In quotes, bytes that aren't printable ASCII as \xNN, and no more than 100 bytes of it.
std::string shown(std::string_view path);

}  // namespace nerofs::layer
