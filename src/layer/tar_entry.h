// One member of a tar archive, as it is handed on by tar_reader.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "erofs/inode.h"
#include "erofs/xattr.h"

namespace nerofs::layer {

enum class entry_type : std::uint8_t { regular, hard_link, symlink, character, block, directory, fifo };

struct tar_entry {
    entry_type type = entry_type::regular;
    std::string path;         // as the archive says it: bytes without NUL, not empty; may be absolute or hold ".."
    std::string link_target;  // of hard_link and symlink; not empty
    std::uint16_t permissions = 0;  // the low 12 bits of the mode
    std::uint32_t uid = 0;
    std::uint32_t gid = 0;
    erofs::timestamp mtime;
    std::uint32_t device_major = 0;  // of character and block
    std::uint32_t device_minor = 0;
    std::uint64_t size = 0;                // of regular, else 0
    std::uint64_t data_offset = 0;         // of regular: where its bytes start in the tar; a multiple of 512
    std::vector<erofs::xattr> attributes;  // ascending names, each once
};

// What a name means in an OCI layer ("Whiteouts" in the image specification's layer.md).
enum class whiteout : std::uint8_t {
    none,
    remove,  // ".wh.NAME": NAME of the layers below isn't there
    opaque,  // ".wh..wh..opq": nothing that the layers below have in this directory is there
    other,   // ".wh..wh.*": AUFS' own, without a meaning
};

// By the last component of a path.
whiteout whiteout_of(std::string_view name);

// NAME of ".wh.NAME".
std::string_view removed_name(std::string_view name);

}  // namespace nerofs::layer
