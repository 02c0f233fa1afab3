// The files of an image as commands show them: a directory's list, all that is known of a file, its bytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "erofs/reader.h"
#include "erofs/tree.h"

namespace nerofs::files {

struct listed_file {
    std::string name;  // bytes; of a directory's entry its name, else the path asked for
    erofs::inode inode;
    std::string target;  // of a symlink
};

// What the path names: of a directory all that is in it, by name; of anything else that alone. Symlinks are followed.
// Errors: as erofs::resolve() and the reader; unsupported, beyond 2^22 names.
result<std::vector<listed_file>> list(erofs::reader& image, std::string_view path);

struct described_file {
    listed_file file;
    std::vector<erofs::xattr> attributes;
};

// Of the path itself, also if it is a symlink.
result<described_file> describe(erofs::reader& image, std::string_view path);

using byte_sink = std::function<status(std::uint64_t offset, std::span<const std::byte> bytes)>;

// All bytes of a regular file, ascending, in pieces of at most 1 MiB; `holes` says whether zeros that aren't stored
// are handed on, too, or passed over. An error of the sink ends it. Errors: usage (not a regular file: EISDIR, EINVAL),
// the reader's.
enum class holes : std::uint8_t { as_zeros, skipped };
status read(erofs::reader& image, const erofs::inode& file, holes what, const byte_sink& sink);

// "-rwsr-xr-x", as ls(1) has it.
std::string mode_text(std::uint16_t mode);

// "file", "directory", "symlink", "character", "block", "fifo", "socket".
std::string_view to_string(erofs::file_type type);

}  // namespace nerofs::files
