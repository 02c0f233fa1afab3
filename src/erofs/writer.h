// Writes the metadata of an EROFS image whose files' data lies elsewhere: in one tar or several right behind it
// ("tarindex").
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "erofs/inode.h"
#include "erofs/xattr.h"

namespace nerofs::erofs {

// What is to be written of an inode; the views live as long as the file_tree.
struct new_inode {
    file_type type = file_type::regular;
    std::uint16_t permissions = 0;  // the low 12 bits of the mode
    std::uint32_t uid = 0;
    std::uint32_t gid = 0;
    timestamp mtime;
    std::uint32_t device_major = 0;
    std::uint32_t device_minor = 0;
    std::uint64_t size = 0;         // of a regular file
    std::uint32_t device = 0;       // of a regular file: which device of data has it, from 0
    std::uint64_t data_offset = 0;  // there; a multiple of 512
    std::string_view target;        // of a symlink: 1 to 4095 bytes
    std::span<const xattr> attributes;
};

// A tree as the writer asks for it. Inodes are numbered from 0, the root, without gaps; what no directory names is not
// written. Must not change while it is written.
class file_tree {
  public:
    file_tree() = default;
    file_tree(const file_tree&) = delete;
    file_tree& operator=(const file_tree&) = delete;
    virtual ~file_tree() = default;

    virtual std::uint32_t inodes() const = 0;
    virtual new_inode inode_at(std::uint32_t number) const = 0;
    // The names of a directory, ascending as unsigned bytes, without "." and "..".
    virtual void list(std::uint32_t directory,
                      const std::function<void(std::string_view name, std::uint32_t inode)>& each) const = 0;
};

struct index_options {
    std::array<std::byte, 16> uuid{};
    // What the image's inodes are said to be from unless they say something else: inodes of this very time may be
    // smaller. Nothing: the time most inodes have, when one is that frequent.
    std::optional<timestamp> epoch;
    // The image is filled up to a multiple of so many bytes, themselves a multiple of 512: then no page that is read
    // for metadata holds data, too.
    std::uint64_t fill_to = 512;
};

struct index_image {
    std::vector<std::byte> bytes;  // whole blocks of 512 bytes; the devices of data follow them
    std::uint64_t inodes = 0;
    std::uint64_t dropped_attributes =
        0;  // in namespaces that EROFS has no number for ("com.apple."); not in the image
};

// The index of a tree whose data lies on devices of these sizes in bytes: blocks of 512 bytes, one slot a device, the
// devices' blocks behind the image's own, one after the other, each device filled up to whole blocks. So the image and
// all of them in one file need no device given at the mount. The same tree and options give the same bytes. Kernels
// from 6.4 on mount it. Errors: usage (the tree isn't one: an inode that isn't there, a directory with two names, a
// name or target nobody may have, data beyond its device), unsupported (more than the format has room for: an attribute
// of more than 65,535 bytes, 256 KiB of them on one file, 1 TiB of data, 4096 devices). Pure.
// Memory: the image, and 24 bytes an inode.
result<index_image> write_index(const file_tree& tree, std::span<const std::uint64_t> devices,
                                const index_options& options = {});

// The same for a single device.
inline result<index_image> write_index(const file_tree& tree, std::uint64_t data_bytes,
                                       const index_options& options = {}) {
    return write_index(tree, std::span(&data_bytes, 1), options);
}

}  // namespace nerofs::erofs
