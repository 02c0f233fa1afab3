// Ways through the tree of an image: all of it, or along a path.
#pragma once

#include <cstdint>
#include <functional>
#include <string_view>

#include "base/result.h"
#include "erofs/reader.h"

namespace nerofs::erofs {

// What a walk may cost at most, whatever the image says; going beyond is an error of kind unsupported.
struct walk_limits {
    std::uint64_t names = 1U << 24;
    std::uint64_t path_bytes = 1U << 16;
};

// Calls `each` for the root (path "") and for everything below it ("usr/bin/env"), a directory before what is in it,
// the names of one directory in order and together. Files with several names come once a name. The path is only valid
// during the call, and `each` may use the reader; an error of `each` ends the walk and is returned. Errors: the
// reader's; corrupt, when a directory is met twice (no loop, no hard-linked directory). Memory: some 100 bytes a
// directory.
status walk(reader& image, const std::function<status(std::string_view path, const inode&)>& each,
            const walk_limits& limits = {});
// The same of a directory and what is below it; paths are from there on.
status walk_from(reader& image, const inode& top,
                 const std::function<status(std::string_view path, const inode&)>& each,
                 const walk_limits& limits = {});

enum class last_symlink : std::uint8_t { follow, keep };

// The inode a path names, from the root with or without a leading '/', as in a chroot: symlinks are followed within the
// image,
// ".." ends at its root, empty components and "." don't matter. A '/' at the end asks for a directory.
// Errors: the reader's; not_found (ENOENT, or ENOTDIR for a file on the way); usage (ELOOP after 40 symlinks;
// ENAMETOOLONG).
result<inode> resolve(reader& image, std::string_view path, last_symlink last = last_symlink::follow);

}  // namespace nerofs::erofs
