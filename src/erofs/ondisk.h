// EROFS as it lies on disk: structs without padding, little-endian fields, and the constants that give them meaning.
// Facts are those of the kernel's fs/erofs/erofs_fs.h (the names in parentheses are its names); docs of the format as a
// whole: Documentation/filesystems/erofs.rst. Nothing here checks anything: superblock.h and reader.h do.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <type_traits>

#include "base/checked.h"
#include "base/endian.h"

namespace nerofs::erofs::ondisk {

// --- Superblock
// -------------------------------------------------------------------------------------------------------

constexpr std::uint64_t superblock_offset = 1024;       // EROFS_SUPER_OFFSET
constexpr std::uint32_t superblock_magic = 0xe0f5e1e2;  // EROFS_SUPER_MAGIC_V1
constexpr std::uint32_t superblock_base_size = 128;     // before any extension slot
constexpr std::uint32_t extension_slot_size = 16;       // EROFS_SB_EXTSLOT_SIZE

// Compatible features (EROFS_FEATURE_COMPAT_*): a reader that doesn't know one may go on.
constexpr std::uint32_t compat_checksum = 0x1;               // _SB_CHKSUM: superblock.checksum is set
constexpr std::uint32_t compat_mtime = 0x2;                  // _MTIME: inode times are mtime, not ctime
constexpr std::uint32_t compat_xattr_filter = 0x4;           // _XATTR_FILTER: h_name_filter is a Bloom filter
constexpr std::uint32_t compat_shared_xattr_metabox = 0x8;   // _SHARED_EA_IN_METABOX
constexpr std::uint32_t compat_plain_xattr_prefixes = 0x10;  // _PLAIN_XATTR_PFX: the table isn't in a special inode
constexpr std::uint32_t compat_inode_share_xattrs = 0x20;    // _ISHARE_XATTRS

// Incompatible features (EROFS_FEATURE_INCOMPAT_*): a reader that doesn't know one must refuse. Three bits have two
// names.
constexpr std::uint32_t incompat_zero_padding = 0x1;     // _LZ4_0PADDING
constexpr std::uint32_t incompat_compr_cfgs = 0x2;       // _COMPR_CFGS, _BIG_PCLUSTER
constexpr std::uint32_t incompat_chunked_file = 0x4;     // _CHUNKED_FILE
constexpr std::uint32_t incompat_device_table = 0x8;     // _DEVICE_TABLE, _COMPR_HEAD2
constexpr std::uint32_t incompat_ztailpacking = 0x10;    // _ZTAILPACKING
constexpr std::uint32_t incompat_fragments = 0x20;       // _FRAGMENTS, _DEDUPE
constexpr std::uint32_t incompat_xattr_prefixes = 0x40;  // _XATTR_PREFIXES
constexpr std::uint32_t incompat_48bit = 0x80;           // _48BIT: block counts and addresses of 48 bits
constexpr std::uint32_t incompat_metabox = 0x100;        // _METABOX: metadata may lie in a (compressed) inode
constexpr std::uint32_t incompat_known = 0x1ff;

// Compression algorithms (Z_EROFS_COMPRESSION_*), as bits of superblock.algorithms when COMPR_CFGS is set.
constexpr std::uint16_t algorithm_lz4 = 0x1;
constexpr std::uint16_t algorithm_lzma = 0x2;
constexpr std::uint16_t algorithm_deflate = 0x4;
constexpr std::uint16_t algorithm_zstd = 0x8;
constexpr std::uint16_t algorithms_known = 0xf;

struct superblock {  // erofs_super_block
    le32 magic;
    le32 checksum;  // crc32c of the rest of the first block, see superblock.cpp
    le32 feature_compat;
    std::uint8_t block_bits;       // blkszbits
    std::uint8_t extension_slots;  // sb_extslots: the superblock has 128 + 16 * this bytes
    le16 root_nid_or_blocks_hi;    // rb: root nid; with 48BIT and root_nid_8 set, the high bits of the block count
    le64 inodes;                   // inos
    le64 epoch;                    // seconds; what times of compact inodes are relative to
    le32 fixed_nsec;               // nanoseconds of the times of compact inodes
    le32 blocks_lo;                // blocks of the primary device
    le32 meta_block;               // meta_blkaddr: nid 0 lies here
    le32 xattr_block;              // xattr_blkaddr: shared xattr 0 lies here
    std::array<std::byte, 16> uuid;
    std::array<char, 16> volume_name;  // NUL-padded, not terminated
    le32 feature_incompat;
    le16 algorithms;              // available_compr_algs with COMPR_CFGS, else the LZ4 window
    le16 extra_devices;           // devices behind the primary one
    le16 device_table_slot;       // devt_slotoff: the table starts at this * 128
    std::uint8_t dir_block_bits;  // dirblkbits, always 0
    std::uint8_t xattr_prefix_count;
    le32 xattr_prefix_start;  // in units of 4 bytes
    le64 packed_nid;          // the inode that holds fragments, 0 if none
    std::uint8_t xattr_filter_reserved;
    std::uint8_t inode_share_prefix;  // ishare_xattr_prefix_id
    std::array<std::byte, 2> reserved;
    le32 build_time;  // seconds after epoch
    le64 root_nid_8;  // rootnid_8b, with 48BIT
    le64 reserved2;
};
static_assert(sizeof(superblock) == superblock_base_size && alignof(superblock) == 1);

// metabox_nid, with METABOX: behind the first 128 bytes, so only there when extension_slots says so.
constexpr std::uint64_t metabox_nid_offset = 128;

struct device_slot {  // erofs_deviceslot
    std::array<char, 64> tag;
    le32 blocks_lo;
    le32 uniaddr_lo;  // first block in the address space that all devices share when none is given at mount
    le16 blocks_hi;   // the two high parts count with 48BIT only
    le16 uniaddr_hi;
    std::array<std::byte, 52> reserved;
};
static_assert(sizeof(device_slot) == 128 && alignof(device_slot) == 1);

// --- Inodes
// -----------------------------------------------------------------------------------------------------------

constexpr unsigned inode_slot_bits = 5;               // an inode starts at a multiple of 32 bytes: its nid counts them
constexpr std::uint64_t nid_in_metabox = 1ULL << 63;  // EROFS_DIRENT_NID_METABOX_BIT

// Bits of i_format.
constexpr std::uint16_t format_extended = 0x1;  // EROFS_INODE_LAYOUT_EXTENDED: 64 bytes, else 32
constexpr unsigned format_layout_shift = 1;     // EROFS_I_DATALAYOUT_BIT
constexpr std::uint16_t format_layout_mask = 0x7;
constexpr std::uint16_t format_nlink_1 =
    0x10;  // EROFS_I_NLINK_1_BIT: compact, not a directory: one link, i_nb is high bits
constexpr std::uint16_t format_dot_omitted = 0x10;  // EROFS_I_DOT_OMITTED_BIT: a directory that doesn't store "."
constexpr std::uint16_t format_known = 0x1f;        // EROFS_I_ALL

enum class data_layout : std::uint8_t {  // EROFS_INODE_*
    flat_plain = 0,                      // whole blocks from startblk on
    compressed_full = 1,
    flat_inline = 2,  // the same, but the last, partial block follows the inode and its xattrs
    compressed_compact = 3,
    chunk_based = 4,  // an array of block addresses follows the inode and its xattrs
};
constexpr std::uint16_t data_layouts = 5;

// Low 16 bits of i_u when the layout is chunk_based (EROFS_CHUNK_FORMAT_*).
constexpr std::uint16_t chunk_bits_mask = 0x1f;  // chunk size = block size << this
constexpr std::uint16_t chunk_indexes = 0x20;    // 8-byte indexes, else 4-byte block numbers
constexpr std::uint16_t chunk_48bit = 0x40;
constexpr std::uint16_t chunk_format_known = 0x7f;

struct inode_compact {  // erofs_inode_compact
    le16 format;
    le16 xattr_count;  // i_xattr_icount: 0 or 1 + (bytes of xattrs - 12) / 4
    le16 mode;
    le16 nlink_or_high;  // i_nb: links, or high bits of a block number or count
    le32 size;
    le32 mtime;  // seconds after the superblock's epoch
    le32 u;      // i_u: first block, device number, chunk format or count of compressed blocks
    le32 ino;    // for 32-bit stat(2)
    le16 uid;
    le16 gid;
    le32 reserved;
};
static_assert(sizeof(inode_compact) == 32 && alignof(inode_compact) == 1);

struct inode_extended {  // erofs_inode_extended
    le16 format;
    le16 xattr_count;
    le16 mode;
    le16 high;  // i_nb
    le64 size;
    le32 u;
    le32 ino;
    le32 uid;
    le32 gid;
    le64 mtime;
    le32 mtime_nsec;
    le32 nlink;
    std::array<std::byte, 16> reserved;
};
static_assert(sizeof(inode_extended) == 64 && alignof(inode_extended) == 1);

struct chunk_index {  // erofs_inode_chunk_index
    le16 block_hi;    // with chunk_48bit
    le16 device_id;   // 0: the primary device; n: slot n-1 of the device table
    le32 block_lo;
};
static_assert(sizeof(chunk_index) == 8 && alignof(chunk_index) == 1);

// All bits of a block address set (as many as its field has): nothing is stored, the bytes are zeros (EROFS_NULL_ADDR).
constexpr std::uint64_t null_block_32 = 0xffffffff;
constexpr std::uint64_t null_block_48 = 0xffffffffffff;

// --- Directories
// ------------------------------------------------------------------------------------------------------

struct dirent {  // erofs_dirent
    le64 nid;
    le16 name_offset;  // nameoff, from the start of the directory block; the first one tells how many dirents there are
    std::uint8_t file_type;
    std::uint8_t reserved;
};
static_assert(sizeof(dirent) == 12 && alignof(dirent) == 1);

constexpr std::size_t name_bytes_cap = 255;  // EROFS_NAME_LEN

// --- Extended attributes
// ----------------------------------------------------------------------------------------------

struct xattr_header {  // erofs_xattr_ibody_header, followed by shared_count le32 ids, then by inline entries
    le32 name_filter;
    std::uint8_t shared_count;
    std::array<std::byte, 7> reserved;
};
static_assert(sizeof(xattr_header) == 12 && alignof(xattr_header) == 1);

struct xattr_entry {  // erofs_xattr_entry, followed by name and value, padded to 4 bytes
    std::uint8_t name_length;
    std::uint8_t name_index;
    le16 value_length;
};
static_assert(sizeof(xattr_entry) == 4 && alignof(xattr_entry) == 1);

constexpr std::uint8_t xattr_long_prefix = 0x80;  // EROFS_XATTR_LONG_PREFIX: the rest is an index into the prefix table
constexpr std::uint8_t xattr_long_prefix_mask = 0x7f;  // EROFS_XATTR_LONG_PREFIX_MASK

// --- Access
// -----------------------------------------------------------------------------------------------------------

// The struct at `offset`, or nothing when it doesn't lie within `bytes`.
template <class T>
std::optional<T> load(std::span<const std::byte> bytes, std::uint64_t offset) {
    static_assert(std::is_trivially_copyable_v<T>);
    if (!range_within<std::uint64_t>(offset, sizeof(T), bytes.size())) return std::nullopt;
    T value;
    std::memcpy(static_cast<void*>(&value), bytes.data() + offset, sizeof value);
    return value;
}

}  // namespace nerofs::erofs::ondisk
