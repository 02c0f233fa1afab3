// Bytes as hexadecimal text and back, as digests and UUIDs are written.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>

namespace nerofs::codec {

// Two lower-case digits a byte.
std::string to_hex(std::span<const std::byte> bytes);

// Fills `out` from exactly 2 * out.size() digits of either case; false, and `out` unspecified, for any other text.
[[nodiscard]] bool from_hex(std::string_view text, std::span<std::byte> out);

}  // namespace nerofs::codec
