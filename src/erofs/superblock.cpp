#include "erofs/superblock.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "base/checked.h"
#include "codec/crc32c.h"
#include "codec/hex.h"
#include "erofs/ondisk.h"

namespace nerofs::erofs {
namespace {

using namespace ondisk;

constexpr std::uint64_t superblock_end = superblock_offset + superblock_base_size;
constexpr unsigned block_bits_least = 9;
constexpr unsigned block_bits_most = 16;
// The kernel wants the superblock in one page, whatever the block size; 4096 is the smallest page there is.
constexpr std::uint64_t superblock_size_cap = 4096 - superblock_offset;
// Offsets must fit the kernel's signed 64-bit loff_t.
constexpr std::uint64_t image_bytes_cap = std::numeric_limits<std::int64_t>::max();

std::uint64_t superblock_size(const superblock& raw) {
    return superblock_base_size + std::uint64_t{raw.extension_slots} * extension_slot_size;
}

bool block_bits_ok(unsigned bits) {
    return bits >= block_bits_least && bits <= block_bits_most;
}

// The end of what the checksum covers: the first block, or for blocks that end before or at the superblock, one block's
// worth of bytes from the superblock on (erofs_superblock_csum_verify).
std::uint64_t checksum_end(unsigned block_bits) {
    const std::uint64_t block = 1ULL << block_bits;
    return block > superblock_offset ? block : superblock_offset + block;
}

std::uint64_t device_count(const superblock& raw) {
    return (raw.feature_incompat & incompat_device_table) != 0 ? raw.extra_devices.get() : 0;
}

std::uint64_t device_table_start(const superblock& raw) {
    return std::uint64_t{raw.device_table_slot} * sizeof(device_slot);
}

std::uint64_t wanted_bytes(const superblock& raw) {
    std::uint64_t wanted = superblock_offset + superblock_size(raw);
    if (block_bits_ok(raw.block_bits)) wanted = std::max(wanted, checksum_end(raw.block_bits));
    const std::uint64_t devices = device_count(raw);
    if (devices > 0 && devices <= extra_devices_cap) {
        wanted = std::max(wanted, device_table_start(raw) + devices * sizeof(device_slot));
    }
    return wanted;
}

tl::unexpected<error> corrupt(std::string text) {
    return fail(error_kind::corrupt, std::move(text));
}

tl::unexpected<error> truncated(std::string_view says, std::uint64_t available) {
    return corrupt(fmt::format("image is truncated: {}, the file has {} bytes", says, with_commas(available)));
}

// The checksum is a CRC-32C that starts with all ones and isn't inverted at the end, over the magic, four zero bytes in
// place of the checksum itself, and the rest.
std::uint32_t checksum_of(std::span<const std::byte> covered) {
    constexpr std::size_t after_checksum = 8;
    constexpr std::array<std::byte, 4> zeros{};
    std::uint32_t crc = codec::crc32c(covered.first(4));
    crc = codec::crc32c(zeros, crc);
    return ~codec::crc32c(covered.subspan(after_checksum), crc);
}

status check_features(const superblock& raw) {
    if (const std::uint32_t unknown = raw.feature_incompat & ~incompat_known; unknown != 0) {
        const bool several = (unknown & (unknown - 1)) != 0;
        return fail(
            make_error(error_kind::unsupported,
                       fmt::format("needs EROFS feature{} {:#x} that nerofs doesn't know", several ? "s" : "", unknown))
                .with_hint("a newer nerofs may"));
    }
    if ((raw.feature_incompat & incompat_compr_cfgs) != 0) {
        const auto unknown = static_cast<std::uint32_t>(raw.algorithms & ~algorithms_known);
        if (unknown != 0) {
            return fail(
                make_error(error_kind::unsupported,
                           fmt::format("needs EROFS compression algorithms {:#x} that nerofs doesn't know", unknown))
                    .with_hint("a newer nerofs may"));
        }
    }
    return {};
}

status check_geometry(const superblock& raw, std::span<const std::byte> first_bytes, std::uint64_t available) {
    if (!block_bits_ok(raw.block_bits)) {
        return corrupt(fmt::format("superblock is damaged: block size 2^{} isn't between 2^{} and 2^{}", raw.block_bits,
                                   block_bits_least, block_bits_most));
    }
    if (raw.dir_block_bits != 0) {
        return fail(error_kind::unsupported,
                    fmt::format("directory blocks of 2^{} blocks aren't supported by any kernel", raw.dir_block_bits));
    }
    if ((raw.feature_compat & compat_checksum) != 0) {
        const std::uint64_t end = checksum_end(raw.block_bits);
        if (end > available) {
            return truncated(fmt::format("its first block ends at byte {}", with_commas(end)), available);
        }
        const std::uint32_t found = checksum_of(first_bytes.subspan(superblock_offset, end - superblock_offset));
        if (found != raw.checksum) {
            return corrupt(fmt::format("superblock is damaged: its checksum is {:#010x}, its bytes give {:#010x}",
                                       raw.checksum.get(), found));
        }
    }
    if (superblock_size(raw) > superblock_size_cap) {
        return corrupt(fmt::format("superblock is damaged: it claims to be {} bytes, {} are possible",
                                   with_commas(superblock_size(raw)), with_commas(superblock_size_cap)));
    }
    if (superblock_offset + superblock_size(raw) > available) {
        return truncated(
            fmt::format("its superblock ends at byte {}", with_commas(superblock_offset + superblock_size(raw))),
            available);
    }
    return {};
}

// The metadata address of an inode outside the metabox must lie in the image.
status check_nid(const superblock_info& info, std::uint64_t nid, std::string_view what) {
    std::optional<std::uint64_t> end = checked_mul<std::uint64_t>(nid, 1ULL << inode_slot_bits);
    if (end) end = checked_add(*end, (info.meta_block << info.block_bits) + sizeof(inode_compact));
    if (!end || *end > info.needed_bytes) {
        return corrupt(fmt::format("superblock is damaged: the {} inode (nid {}) lies beyond the image's {} bytes",
                                   what, nid, with_commas(info.needed_bytes)));
    }
    return {};
}

status check_nids(const superblock_info& info) {
    if (info.metabox_nid) {
        if ((*info.metabox_nid & nid_in_metabox) != 0) {
            return corrupt("superblock is damaged: the metabox inode claims to lie in itself");
        }
        NEROFS_CHECK(check_nid(info, *info.metabox_nid, "metabox"));
    }
    for (const auto& [nid, what] : {std::pair{info.root_nid, "root"}, std::pair{info.packed_nid, "packed"}}) {
        if ((nid & nid_in_metabox) == 0) {
            NEROFS_CHECK(check_nid(info, nid, what));
        } else if (!info.metabox_nid) {
            return corrupt(
                fmt::format("superblock is damaged: the {} inode claims to lie in a metabox, there is none", what));
        }
    }
    return {};
}

result<std::vector<device_info>> load_devices(const superblock& raw, std::span<const std::byte> first_bytes,
                                              std::uint64_t available) {
    const std::uint64_t count = device_count(raw);
    if (count > extra_devices_cap) {
        return fail(error_kind::unsupported, fmt::format("the image has {} extra devices, nerofs takes at most {}",
                                                         with_commas(count), with_commas(extra_devices_cap)));
    }
    const std::uint64_t start = device_table_start(raw);
    if (count > 0 && start + count * sizeof(device_slot) > available) {
        return truncated(
            fmt::format("its device table ends at byte {}", with_commas(start + count * sizeof(device_slot))),
            available);
    }
    const bool wide = (raw.feature_incompat & incompat_48bit) != 0;
    std::vector<device_info> devices;
    devices.reserve(count);
    for (std::uint64_t i = 0; i < count; ++i) {
        const auto slot = *load<device_slot>(first_bytes, start + i * sizeof(device_slot));
        device_info device;
        device.tag.assign(slot.tag.begin(), std::find(slot.tag.begin(), slot.tag.end(), '\0'));
        device.blocks = slot.blocks_lo | (wide ? std::uint64_t{slot.blocks_hi} << 32 : 0);
        device.uniaddr = slot.uniaddr_lo | (wide ? std::uint64_t{slot.uniaddr_hi} << 32 : 0);
        devices.push_back(std::move(device));
    }
    return devices;
}

// How far the image's own blocks, and with flat devices those of the others, reach; and that it is all there.
status measure(superblock_info& info, std::uint64_t available) {
    std::uint64_t end_block = info.primary_blocks;
    if (info.flat_devices) {
        for (const device_info& device : info.devices) {
            if (device.uniaddr == 0) {  // the kernel would read file data from the image's own start
                const std::size_t n = info.devices.size();
                return fail(make_error(error_kind::usage,
                                       fmt::format("the image keeps file data on {} extra device{}, and none was given",
                                                   n, n == 1 ? "" : "s"))
                                .with_hint("name each with -o device=PATH, in their order"));
            }
            end_block = std::max(end_block, device.uniaddr + device.blocks);  // 48 bits each
        }
    }
    const auto bytes = checked_mul<std::uint64_t>(end_block, info.block_size());
    if (!bytes || *bytes > image_bytes_cap) {
        return corrupt(fmt::format("superblock is damaged: {} blocks of {} bytes are more than a device can have",
                                   with_commas(end_block), info.block_size()));
    }
    info.needed_bytes = *bytes;
    if (info.needed_bytes <= available) return {};
    if (end_block == info.primary_blocks) {
        return truncated(fmt::format("its superblock says {} blocks of {} bytes ({} bytes)", with_commas(end_block),
                                     info.block_size(), with_commas(*bytes)),
                         available);
    }
    auto failed = truncated(fmt::format("its device table says {} blocks of {} bytes ({} bytes)",
                                        with_commas(end_block), info.block_size(), with_commas(*bytes)),
                            available);
    failed.value().hint = "it points into other data, which must lie right behind it or be given with -o device=PATH";
    return failed;
}

superblock_info describe(const superblock& raw) {
    superblock_info info;
    info.block_bits = raw.block_bits;
    info.feature_compat = raw.feature_compat;
    info.feature_incompat = raw.feature_incompat;
    info.primary_blocks = raw.blocks_lo;
    info.root_nid = raw.root_nid_or_blocks_hi;
    if (info.has(incompat_48bit) && raw.root_nid_8 != 0) {
        info.primary_blocks |= std::uint64_t{raw.root_nid_or_blocks_hi} << 32;
        info.root_nid = raw.root_nid_8;
    }
    if (info.has(incompat_compr_cfgs)) {
        info.algorithms = raw.algorithms;
    } else if (info.has(incompat_zero_padding)) {
        info.algorithms = algorithm_lz4;  // the only one there was before there were several
    }
    if (info.has(incompat_fragments)) info.packed_nid = raw.packed_nid;
    info.meta_block = raw.meta_block;
    info.xattr_block = raw.xattr_block;
    info.xattr_prefix_start = raw.xattr_prefix_start;
    info.xattr_prefix_count = raw.xattr_prefix_count;
    info.inodes = raw.inodes;
    info.epoch = static_cast<std::int64_t>(raw.epoch.get());
    info.fixed_nsec = raw.fixed_nsec;
    // Modulo 2^64: a hostile epoch must not be undefined behaviour.
    info.build_time = static_cast<std::int64_t>(raw.epoch + std::uint64_t{raw.build_time});
    info.uuid = raw.uuid;
    info.volume_name.assign(raw.volume_name.begin(), std::find(raw.volume_name.begin(), raw.volume_name.end(), '\0'));
    return info;
}

}  // namespace

std::string with_commas(std::uint64_t number) {
    std::string text = std::to_string(number);
    for (std::size_t at = text.size(); at > 3;) text.insert(at -= 3, ",");
    return text;
}

bool has_magic(std::span<const std::byte> first_bytes) {
    const auto magic = load<le32>(first_bytes, superblock_offset);
    return magic && *magic == superblock_magic;
}

std::uint64_t superblock_wants(std::span<const std::byte> first_bytes) {
    const auto raw = load<superblock>(first_bytes, superblock_offset);
    if (!raw || !has_magic(first_bytes)) return superblock_end;
    return wanted_bytes(*raw);
}

result<superblock_info> check_superblock(std::span<const std::byte> first_bytes, std::uint64_t available_bytes,
                                         bool has_extra_devices) {
    if (available_bytes == 0) return corrupt("not an EROFS image (the file is empty)");
    if (available_bytes < superblock_end) {
        return corrupt(fmt::format("not an EROFS image (the file has {} bytes, the superblock alone ends at byte {})",
                                   with_commas(available_bytes), with_commas(superblock_end)));
    }
    const std::uint64_t wants = std::min(superblock_wants(first_bytes), available_bytes);
    if (first_bytes.size() < wants) {
        return fail(error_kind::usage,
                    fmt::format("the superblock can't be checked with the first {} bytes, it takes {}",
                                with_commas(first_bytes.size()), with_commas(wants)));
    }
    if (!has_magic(first_bytes)) return corrupt("not an EROFS image (no magic at byte 1024)");
    const superblock raw = *load<superblock>(first_bytes, superblock_offset);
    NEROFS_CHECK(check_geometry(raw, first_bytes, available_bytes));
    NEROFS_CHECK(check_features(raw));

    superblock_info info = describe(raw);
    if (checked_mul<std::uint64_t>(info.primary_blocks, info.block_size()).value_or(superblock_end) < superblock_end) {
        return corrupt(fmt::format("superblock is damaged: it says {} blocks of {} bytes, less than it takes itself",
                                   info.primary_blocks, info.block_size()));
    }
    if (info.has(incompat_metabox)) {
        if (superblock_size(raw) < metabox_nid_offset + sizeof(le64)) {
            return corrupt("superblock is damaged: it has a metabox, but no room for its inode's number");
        }
        info.metabox_nid = load<le64>(first_bytes, superblock_offset + metabox_nid_offset)->get();
    }
    NEROFS_TRY(info.devices, load_devices(raw, first_bytes, available_bytes));
    if (has_extra_devices && info.devices.empty()) {
        return fail(error_kind::usage, "extra devices were given, but the image has none");  // the kernel says EINVAL
    }
    info.flat_devices = !info.devices.empty() && !has_extra_devices;
    NEROFS_CHECK(measure(info, available_bytes));
    NEROFS_CHECK(check_nids(info));
    return info;
}

result<superblock_info> read_superblock(byte_reader& image, std::uint64_t available_bytes, bool has_extra_devices) {
    std::vector<std::byte> first;
    // Twice at most: what the fixed part wants doesn't depend on what is read then.
    for (;;) {
        const std::uint64_t wants = std::min(superblock_wants(first), available_bytes);
        if (first.size() >= wants) return check_superblock(first, available_bytes, has_extra_devices);
        const std::size_t have = first.size();
        first.resize(wants);
        NEROFS_CHECK(image.read_exact(have, std::span(first).subspan(have)));
    }
}

}  // namespace nerofs::erofs
