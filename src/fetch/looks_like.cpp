#include "fetch/looks_like.h"

#include <algorithm>
#include <array>
#include <cctype>

namespace nerofs::fetch {
namespace {

using namespace std::string_view_literals;

constexpr std::string_view unpack_hint = "decompress it first; nerofs mounts the image inside";
constexpr std::string_view tar_hint =
    "a tar mounts by an index: mkfs.erofs --tar=i makes one, the tar goes right behind it";
constexpr std::string_view other_hint = "mkfs.erofs makes EROFS images from directories";
constexpr std::string_view convert_hint = "convert it with: qemu-img convert -O raw IN OUT";

struct signature {
    std::size_t offset;
    std::string_view bytes;
    known_format format;
};

// Signatures as in the formats' own specifications; the order matters where one container may hold another.
constexpr std::array signatures = {
    signature{0, "\x1f\x8b"sv, {"gzip data", unpack_hint}},
    signature{0, "\x28\xb5\x2f\xfd"sv, {"zstd data", unpack_hint}},
    signature{0,
              "\xfd"
              "7zXZ\0"sv,
              {"xz data", unpack_hint}},
    signature{0, "BZh"sv, {"bzip2 data", unpack_hint}},
    signature{0, "\x04\x22\x4d\x18"sv, {"lz4 data", unpack_hint}},
    signature{0, "PK\x03\x04"sv, {"a zip archive", unpack_hint}},
    signature{257, "ustar"sv, {"a tar archive", tar_hint}},
    signature{0, "hsqs"sv, {"a squashfs image", other_hint}},
    signature{1080, "\x53\xef"sv, {"an ext2, ext3 or ext4 file system", other_hint}},
    signature{0, "XFSB"sv, {"an XFS file system", other_hint}},
    signature{0, "\x45\x3d\xcd\x28"sv, {"a cramfs image", other_hint}},
    signature{0, "QFI\xfb"sv, {"a qcow2 disk", convert_hint}},
    signature{0, "KDMV"sv, {"a VMDK disk", convert_hint}},
    signature{0, "vhdxfile"sv, {"a VHDX disk", convert_hint}},
    signature{0, "\x3a\xff\x26\xed"sv, {"an Android sparse image", "unpack it with: simg2img IN OUT"}},
    signature{0, "LUKS\xba\xbe"sv, {"a LUKS volume", "open it with cryptsetup and mount what appears"}},
    signature{512, "EFI PART"sv, {"a disk with a partition table", "mount one of its partitions"}},
    signature{0,
              "\x7f"
              "ELF"sv,
              {"an ELF program", ""}},
};

bool starts_with_ignoring_case(std::string_view text, std::string_view prefix) {
    return text.size() >= prefix.size() && std::equal(prefix.begin(), prefix.end(), text.begin(), [](char a, char b) {
               return a == std::tolower(static_cast<unsigned char>(b));
           });
}

}  // namespace

std::optional<known_format> looks_like(std::span<const std::byte> first_bytes) {
    const std::string_view text(reinterpret_cast<const char*>(first_bytes.data()), first_bytes.size());
    for (const signature& s : signatures) {
        if (text.size() >= s.offset && text.substr(s.offset).starts_with(s.bytes)) return s.format;
    }
    const std::string_view trimmed = text.substr(std::min(text.find_first_not_of(" \t\r\n"), text.size()));
    if (starts_with_ignoring_case(trimmed, "<!doctype html") || starts_with_ignoring_case(trimmed, "<html")) {
        return known_format{"an HTML page", "a download may have saved a server's error page in its place"};
    }
    if (!text.empty() && text.find_first_not_of('\0') == std::string_view::npos) {
        return known_format{"nothing but zeros at the start", "it may be a download that hasn't begun"};
    }
    return std::nullopt;
}

}  // namespace nerofs::fetch
