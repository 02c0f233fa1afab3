#include "erofs/inode.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <limits>
#include <optional>

#include "base/checked.h"

namespace nerofs::erofs {
namespace {

using namespace ondisk;

constexpr std::uint64_t file_size_cap = std::numeric_limits<std::int64_t>::max();  // the kernel's loff_t
constexpr std::uint32_t nanoseconds_per_second = 1000000000;

std::optional<file_type> type_of(std::uint16_t mode) {
    switch (mode & S_IFMT) {
        case S_IFREG:
            return file_type::regular;
        case S_IFDIR:
            return file_type::directory;
        case S_IFLNK:
            return file_type::symlink;
        case S_IFCHR:
            return file_type::character;
        case S_IFBLK:
            return file_type::block;
        case S_IFIFO:
            return file_type::fifo;
        case S_IFSOCK:
            return file_type::socket;
        default:
            return std::nullopt;
    }
}

std::uint32_t xattr_bytes(std::uint16_t count) {
    return count == 0 ? 0 : static_cast<std::uint32_t>(sizeof(xattr_header) + 4U * (count - 1U));
}

// What the two forms of an inode have in common, and the fields whose meaning depends on the type.
struct raw_inode {
    std::uint16_t format;
    std::uint32_t u;
    std::uint16_t high;        // high bits of the start block, 0 where the form has none
    std::uint64_t null_block;  // the start block that means none
};

raw_inode take(const inode_compact& raw, const superblock_info& super, inode& out) {
    out.xattr_size = xattr_bytes(raw.xattr_count);
    out.mode = raw.mode;
    out.uid = raw.uid;
    out.gid = raw.gid;
    out.size = raw.size;
    // Modulo 2^64, as a hostile epoch must not be undefined behaviour.
    const auto seconds = static_cast<std::uint64_t>(super.epoch) + std::uint64_t{raw.mtime};
    out.mtime = {static_cast<std::int64_t>(seconds), super.fixed_nsec % nanoseconds_per_second};
    const bool one_link = (raw.format & format_nlink_1) != 0 && (raw.mode & S_IFMT) != S_IFDIR;
    out.links = one_link ? 1 : raw.nlink_or_high.get();
    const std::uint16_t high = one_link ? raw.nlink_or_high.get() : std::uint16_t{0};
    return {raw.format, raw.u, high, one_link ? null_block_48 : null_block_32};
}

raw_inode take(const inode_extended& raw, inode& out) {
    out.xattr_size = xattr_bytes(raw.xattr_count);
    out.mode = raw.mode;
    out.uid = raw.uid;
    out.gid = raw.gid;
    out.size = raw.size;
    out.mtime = {static_cast<std::int64_t>(raw.mtime.get()), raw.mtime_nsec % nanoseconds_per_second};
    out.links = raw.nlink;
    return {raw.format, raw.u, raw.high, null_block_48};
}

tl::unexpected<error> bad(error_kind kind, std::uint64_t nid, std::string_view why) {
    return fail(kind, fmt::format("{}: {}", inode_name(nid), why));
}

status take_data_location(const raw_inode& raw, inode& out) {
    switch (out.type) {
        case file_type::character:
        case file_type::block:  // the kernel's new_decode_dev
            out.device_major = (raw.u & 0xfff00) >> 8;
            out.device_minor = (raw.u & 0xff) | ((raw.u >> 12) & 0xfff00);
            return {};
        case file_type::fifo:
        case file_type::socket:
            return {};
        default:
            break;
    }
    out.start_block = raw.u | (std::uint64_t{raw.high} << 32);
    out.hole = out.layout == data_layout::flat_plain && (out.start_block & raw.null_block) == raw.null_block;
    if (out.layout == data_layout::chunk_based) {
        out.chunk_format = static_cast<std::uint16_t>(raw.u);
        if ((out.chunk_format & ~chunk_format_known) != 0) {
            return bad(error_kind::unsupported, out.nid,
                       fmt::format("chunk format {:#x} isn't known", out.chunk_format));
        }
    }
    return {};
}

}  // namespace

std::string inode_name(std::uint64_t nid) {
    return fmt::format("inode {}{}", nid & ~nid_in_metabox, (nid & nid_in_metabox) != 0 ? " of the metabox" : "");
}

result<std::uint64_t> inode_address(const superblock_info& super, std::uint64_t nid) {
    if ((nid & nid_in_metabox) != 0 && !super.metabox_nid) {
        return bad(error_kind::corrupt, nid, "lies in a metabox, the image has none");
    }
    std::optional<std::uint64_t> address =
        checked_mul<std::uint64_t>(nid & ~nid_in_metabox, std::uint64_t{1} << inode_slot_bits);
    if (address && (nid & nid_in_metabox) == 0) address = checked_add(*address, super.meta_block << super.block_bits);
    // Room for whatever follows the inode, so that no sum of small lengths can overflow later.
    constexpr std::uint64_t address_cap = std::uint64_t{1} << 63;
    if (!address || *address >= address_cap) return bad(error_kind::corrupt, nid, "lies beyond any device");
    return *address;
}

std::size_t inode_bytes(std::span<const std::byte> start) {
    const auto format = load<le16>(start, 0);
    return format && (*format & format_extended) != 0 ? sizeof(inode_extended) : sizeof(inode_compact);
}

result<inode> parse_inode(const superblock_info& super, std::uint64_t nid, std::span<const std::byte> bytes) {
    NEROFS_TRY(const std::uint64_t address, inode_address(super, nid));
    inode out;
    out.nid = nid;
    out.body = address + inode_bytes(bytes);
    raw_inode raw{};
    if (inode_bytes(bytes) == sizeof(inode_extended)) {
        const auto extended = load<inode_extended>(bytes, 0);
        if (!extended) return bad(error_kind::corrupt, nid, "is cut off");
        raw = take(*extended, out);
    } else {
        const auto compact = load<inode_compact>(bytes, 0);
        if (!compact) return bad(error_kind::corrupt, nid, "is cut off");
        raw = take(*compact, super, out);
    }
    const unsigned layout = (raw.format >> format_layout_shift) & format_layout_mask;
    if ((raw.format & ~format_known) != 0 || layout >= data_layouts) {
        return bad(error_kind::unsupported, nid, fmt::format("format {:#x} isn't known", raw.format));
    }
    out.layout = static_cast<data_layout>(layout);
    const auto type = type_of(out.mode);
    if (!type) return bad(error_kind::corrupt, nid, fmt::format("mode {:#o} has no file type", out.mode));
    out.type = *type;
    if (out.size > file_size_cap) return bad(error_kind::corrupt, nid, "its size is negative");
    out.dot_omitted = out.type == file_type::directory && (raw.format & format_dot_omitted) != 0;
    NEROFS_CHECK(take_data_location(raw, out));
    return out;
}

}  // namespace nerofs::erofs
