// Bytes kept small: one zstd frame that tells its size, and back.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "base/result.h"

namespace nerofs::codec {

// `level` as zstd has it, 1 to 19. Throws std::bad_alloc. Doesn't block; any thread.
std::vector<std::byte> zstd_packed(std::span<const std::byte> bytes, int level);

// How many bytes a frame says that it decodes to; nothing when it doesn't say, or isn't one.
std::optional<std::uint64_t> zstd_unpacked_bytes(std::span<const std::byte> packed);

// Allocates nothing before it is known to be at most `most` bytes. Errors: corrupt (damaged, more than that, or not one
// frame that tells its size). Doesn't block; any thread.
result<std::vector<std::byte>> zstd_unpacked(std::span<const std::byte> packed, std::size_t most);

}  // namespace nerofs::codec
