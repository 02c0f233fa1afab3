// Extended attributes as they lie behind an inode or in the shared area, parsed and checked; no I/O.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"

namespace nerofs::erofs {

struct xattr {
    std::string name;   // with its namespace: "user.note", "security.capability"
    std::string value;  // bytes, at most 65,535
    friend bool operator==(const xattr&, const xattr&) = default;
};

// A prefix of the image's table of long prefixes: "trusted.overlay." and the like.
struct xattr_prefix {
    std::uint8_t base_index = 0;
    std::string infix;
};

// What follows an inode's fixed part: ids of shared entries, and entries.
struct xattr_body {
    std::vector<std::uint32_t> shared_ids;
    std::span<const std::byte> entries;
};

// Splits inode::xattr_size bytes. Errors: corrupt. Pure, as all of these.
result<xattr_body> parse_xattr_body(std::span<const std::byte> bytes);

// How long the entry is that starts here, name, value and padding included; at least 4. `start` has 4 bytes or more.
std::size_t xattr_entry_bytes(std::span<const std::byte> start);

// Whether the entry that starts here needs the table of long prefixes to be named.
bool xattr_has_long_prefix(std::span<const std::byte> start);

// The attribute at the start of `entry`, of which xattr_entry_bytes() are there (padding may be missing at the end).
// Nothing for a namespace that no kernel shows (index 0, as in padding; numbers from the future; prefixes the table
// doesn't have).
result<std::optional<xattr>> parse_xattr_entry(std::span<const std::byte> entry,
                                               std::span<const xattr_prefix> prefixes);

}  // namespace nerofs::erofs
