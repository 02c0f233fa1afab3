// Blocks of directory entries, parsed and checked; no I/O.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace nerofs::erofs {

struct directory_entry {
    std::uint64_t nid = 0;
    std::string_view name;  // in the block it was parsed from; bytes, not text
};

// The entries of one directory block, in their order: names of 1 to 255 bytes without '/' and NUL, strictly ascending
// as unsigned bytes, "." and ".." among them. `block` is what the directory has of it (the last one may be shorter than
// a block). The order is what lookups rely on, and what bounds a directory: repeated blocks aren't ascending. Errors:
// corrupt. Pure.
result<std::vector<directory_entry>> parse_directory_block(std::span<const std::byte> block);

// Whether a name can be a component of a path: not empty, ".", ".." or too long, and without '/' and NUL.
bool plain_name(std::string_view name);

}  // namespace nerofs::erofs
