// Bytes that are all zero.
#pragma once

#include <cstddef>
#include <cstring>
#include <span>

namespace nerofs {

// Nothing is zero, too.
inline bool is_zero(std::span<const std::byte> bytes) {
    return bytes.empty() ||
           (bytes.front() == std::byte{0} && std::memcmp(bytes.data(), bytes.data() + 1, bytes.size() - 1) == 0);
}

}  // namespace nerofs
