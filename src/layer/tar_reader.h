// Reads a tar archive as it streams by: bytes in pieces of any size go in, members come out.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>

#include "base/result.h"
#include "layer/tar_entry.h"

namespace nerofs::layer {

constexpr std::size_t tar_block_bytes = 512;

// As many bytes as a path or a symlink's target may have; the kernel takes no longer ones (PATH_MAX, with its NUL).
constexpr std::size_t tar_path_cap = 4095;
// One pax header, and all global ones together. Go's archive/tar, which most unpackers use, has the same.
constexpr std::size_t tar_pax_cap = 1U << 20;
// Extended attributes of one member.
constexpr std::size_t tar_attributes_cap = 4096;

// Understands v7, ustar, GNU (long names and links, base-256 numbers), star, and pax (path, linkpath, size, mtime, uid,
// gid, SCHILY.xattr.*, LIBARCHIVE.xattr.*, local and global; other keywords are passed over). Where readers differ, it
// does as Go's archive/tar: links, directories and devices have no data whatever their size says, and a regular
// file whose name ends in '/' is a directory.
//
// Memory: one block and the extended headers of one member, by the caps above. One thread at a time; never blocks.
class tar_reader {
  public:
    // Called for each member when its headers are complete, before its data; an error ends the reading.
    using visitor = std::function<status(tar_entry&&)>;

    explicit tar_reader(visitor each);
    tar_reader(tar_reader&&) noexcept;
    tar_reader& operator=(tar_reader&&) noexcept;
    ~tar_reader();

    // The next bytes of the archive. What lies behind its two zero blocks is passed over. After an error every call
    // returns that error. Errors: corrupt (not a tar, or a damaged one), unsupported (GNU sparse files, continued
    // volumes, members nobody here knows, beyond a cap), and the visitor's. The texts name the member or the offset.
    status push(std::span<const std::byte> bytes);

    // The archive has no more bytes. corrupt: it ends within a member, or without a single block. An archive that
    // ends between members without its two zero blocks, or even without what fills up its last file to a block (umoci
    // writes such), is taken, as unpackers do; end_marked() tells.
    status finish();

    // Whether the two zero blocks were seen.
    bool end_marked() const;

    // Bytes from the start through the two zero blocks, or as far as the archive was pushed yet.
    std::uint64_t archive_bytes() const;

  private:
    struct state;
    std::unique_ptr<state> state_;
};

}  // namespace nerofs::layer
