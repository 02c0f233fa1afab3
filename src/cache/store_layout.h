// Names of the cache's files; docs/cache.md.
#pragma once

#include <cstdint>
#include <string>

#include "cache/durable_map.h"
#include "codec/hex.h"

namespace nerofs::cache::layout {

inline constexpr const char* lock_file = "lock";
inline constexpr const char* map_file = "map";
inline constexpr const char* new_suffix = ".new";

// Bytes of the lock file. Shared by every user of the blob; exclusive for whoever removes it.
inline constexpr std::uint64_t pin_at = 0;
// Exclusive while a process opens the blob.
inline constexpr std::uint64_t open_at = 1;

inline std::string data_file(const instance_id& instance) {
    return "data." + codec::to_hex(instance);
}
inline std::string live_map(const std::string& blob, const instance_id& instance) {
    return blob + "." + codec::to_hex(instance);
}

}  // namespace nerofs::cache::layout
