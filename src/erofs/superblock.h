// The superblock of an EROFS image: parsed, checked against the bytes there are, and told in words people can use.
#pragma once

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "erofs/byte_reader.h"

namespace nerofs::erofs {

// No image in use lists more than some hundred devices (one a layer); the table's count field goes to 65,535.
constexpr std::uint64_t extra_devices_cap = 4096;

struct device_info {
    std::string tag;            // what the writer noted, often empty
    std::uint64_t blocks = 0;   // its size
    std::uint64_t uniaddr = 0;  // its first block in the flat address space; 0: it has no place there
};

// A kernel series such as 6.1, and what first came with it.
struct kernel_need {
    unsigned major = 0;
    unsigned minor = 0;
    std::string_view feature;  // static text

    std::string series() const;  // "6.1"
    friend std::strong_ordering operator<=>(const kernel_need& a, const kernel_need& b) {
        return a.major != b.major ? a.major <=> b.major : a.minor <=> b.minor;
    }
    friend bool operator==(const kernel_need& a, const kernel_need& b) { return (a <=> b) == 0; }
};

struct superblock_info {
    unsigned block_bits = 0;
    std::uint64_t primary_blocks = 0;
    std::uint64_t needed_bytes = 0;  // what must be there: the primary device, and with flat_devices the others too
    bool flat_devices = false;       // a device table, and no device given: all lie in one address space

    std::uint32_t feature_compat = 0;
    std::uint32_t feature_incompat = 0;
    std::uint16_t algorithms = 0;  // ondisk::algorithm_*; 0 when nothing tells

    std::uint64_t root_nid = 0;
    std::uint64_t packed_nid = 0;              // 0: none
    std::optional<std::uint64_t> metabox_nid;  // with METABOX
    std::uint64_t meta_block = 0;
    std::uint64_t xattr_block = 0;
    std::uint64_t xattr_prefix_start = 0;  // in units of 4 bytes
    std::uint8_t xattr_prefix_count = 0;
    std::uint64_t inodes = 0;

    std::int64_t epoch = 0;  // seconds since 1970, what compact inodes' times are relative to
    std::uint32_t fixed_nsec = 0;
    std::int64_t build_time = 0;  // seconds since 1970
    std::array<std::byte, 16> uuid{};
    std::string volume_name;
    std::vector<device_info> devices;

    std::uint32_t block_size() const { return 1U << block_bits; }
    bool has(std::uint32_t incompat_bit) const { return (feature_incompat & incompat_bit) != 0; }
    // "c1b9d5a2-f162-11cf-9ece-0020afc76f16"
    std::string uuid_text() const;
    // Short names of all features in use ("sb_chksum", "chunked_file", "zstd", ...), in a fixed order.
    std::vector<std::string> feature_names() const;
    // The first kernel series that has everything the superblock says is in use, and the newest such thing.
    // Distributions patch kernels, so it is for hints, not for decisions. What depends on the machine's page size isn't
    // in it, except that blocks under 4096 bytes need 6.4 anywhere.
    kernel_need first_kernel() const;
};

// Whether an EROFS superblock starts where it must, whatever it then says. False for fewer than 1028 bytes.
bool has_magic(std::span<const std::byte> first_bytes);

// How many bytes from the image's start check_superblock() wants, as far as `first_bytes` tell: more when more are
// given, at most some 17 MiB by the formats' field widths. Never less than 1152.
std::uint64_t superblock_wants(std::span<const std::byte> first_bytes);

// Parses and checks the superblock in the first bytes of an image. `first_bytes` starts at the image's byte 0 and holds
// superblock_wants() bytes, or the whole image if that is shorter; `available_bytes` is the whole image's size;
// `has_extra_devices` says that the mount is given devices besides, so the device table doesn't have to be flat.
// Errors: corrupt (not EROFS, damaged, truncated), unsupported (a feature nobody here knows, by name or bit), usage
// (file data lies on a device that wasn't given, or devices were given to an image without any; or first_bytes is too
// short). Pure: no I/O, any thread.
result<superblock_info> check_superblock(std::span<const std::byte> first_bytes, std::uint64_t available_bytes,
                                         bool has_extra_devices);

// The same over a reader, reading what is wanted and no more. Blocks as the reader does; its errors are passed on.
result<superblock_info> read_superblock(byte_reader& image, std::uint64_t available_bytes, bool has_extra_devices);

// 1234567 as "1,234,567", as sizes are written in errors.
std::string with_commas(std::uint64_t number);

}  // namespace nerofs::erofs
