// One inode as the image has it, parsed and checked; no I/O.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "base/result.h"
#include "erofs/ondisk.h"
#include "erofs/superblock.h"

namespace nerofs::erofs {

enum class file_type : std::uint8_t { regular, directory, symlink, character, block, fifo, socket };

struct timestamp {
    std::int64_t seconds = 0;  // since 1970
    std::uint32_t nanoseconds = 0;
    friend bool operator==(const timestamp&, const timestamp&) = default;
};

struct inode {
    std::uint64_t nid = 0;
    file_type type = file_type::regular;
    std::uint16_t mode = 0;  // as in stat(2), with the type's bits
    std::uint32_t uid = 0;
    std::uint32_t gid = 0;
    std::uint32_t links = 0;
    std::uint64_t size = 0;  // bytes, at most 2^63 - 1
    timestamp mtime;
    std::uint32_t device_major = 0;  // of character and block devices
    std::uint32_t device_minor = 0;

    // Where its data is; for reader::map(), which knows how to use it.
    ondisk::data_layout layout = ondisk::data_layout::flat_plain;
    std::uint64_t body = 0;        // metadata address of what follows the fixed part: xattrs, then chunks or the tail
    std::uint32_t xattr_size = 0;  // bytes of xattrs there
    std::uint64_t start_block = 0;
    bool hole = false;               // flat_plain without blocks: zeros throughout
    std::uint16_t chunk_format = 0;  // ondisk::chunk_*
    bool dot_omitted = false;

    bool in_metabox() const { return (nid & ondisk::nid_in_metabox) != 0; }
    bool compressed() const {
        return layout == ondisk::data_layout::compressed_full || layout == ondisk::data_layout::compressed_compact;
    }
};

// "inode 37", or "inode 5 of the metabox", for errors.
std::string inode_name(std::uint64_t nid);

// Where the inode starts: a byte of the image, or of the metabox inode's data when the nid says so. Errors: corrupt.
result<std::uint64_t> inode_address(const superblock_info& super, std::uint64_t nid);

// How many bytes parse_inode() needs to see: 32, or 64 when the first two (at least) say so.
std::size_t inode_bytes(std::span<const std::byte> start);

// Parses inode_bytes() bytes from inode_address(). Errors: corrupt, or unsupported for a format nobody here knows.
// Pure.
result<inode> parse_inode(const superblock_info& super, std::uint64_t nid, std::span<const std::byte> bytes);

}  // namespace nerofs::erofs
