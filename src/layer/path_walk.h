// Where the path of a member leads within a tree that is being made: symlinks on the way are followed, as in a chroot.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace nerofs::layer {

struct place {
    std::uint32_t directory = 0;
    std::string name;  // empty: the root itself
};

// The components of a path, without empty ones and "."; of a symlink's target ".." may be among them.
std::vector<std::string_view> components(std::string_view path);
// The same with ".." applied, which ends at the root.
std::vector<std::string_view> cleaned(std::string_view path);

// A tree as it is walked through; its root is inode 0.
class walked_tree {
  public:
    struct step {
        std::uint32_t inode = 0;
        bool is_directory = false;
        std::optional<std::string_view> target;  // of a symlink
    };

    virtual ~walked_tree() = default;

    // What a directory has by that name (1 to 255 bytes), nothing if there is none. With `create` a directory is made
    // then.
    virtual result<std::optional<step>> step_to(std::uint32_t directory, std::string_view name, bool create) = 0;
    // The directory that a directory is in; the root's is the root.
    virtual std::uint32_t directory_above(std::uint32_t directory) const = 0;
};

// The directory that the components lead to from `start` on, the last one followed, too. With `create`, directories
// that aren't there are made; else nothing is returned then, and where something on the way isn't a directory.
// Errors: corrupt (symlinks that go round; with `create` a way through something that isn't a directory), unsupported
// (a name of more than 255 bytes), the tree's.
result<std::optional<std::uint32_t>> find_directory(walked_tree& tree, std::uint32_t start,
                                                    const std::vector<std::string_view>& way, bool create);

// The same of a path from the root, but for its last component, which is left alone.
result<std::optional<place>> find_place(walked_tree& tree, std::string_view path, bool create);

}  // namespace nerofs::layer
