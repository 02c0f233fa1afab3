// The tree that a layer's members make, as an unpacker would leave it on disk.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "layer/node_tree.h"
#include "layer/tar_entry.h"

namespace nerofs::layer {

enum class whiteout_mode : std::uint8_t {
    as_files,  // ".wh.x" is a file of that name, as the peer's index has it
    as_marks,  // ".wh.x" becomes x, a character device 0/0, as overlayfs has it; ".wh..wh..opq" is told by is_opaque()
};

struct tree_options {
    whiteout_mode whiteouts = whiteout_mode::as_files;
    // Hard links whose target isn't in the archive: it may be in a layer below. Otherwise they are an error.
    bool keep_unresolved = false;
    // What the tree may cost at most; going beyond is an error of kind unsupported.
    std::uint64_t names = 1U << 22;
    std::uint64_t text_bytes = 1U << 30;  // of names, targets and attributes
};

// How members become a tree:
// - a path is taken from the root whatever it begins with; ".." ends at the root, and is applied to the path before
//   symlinks are; symlinks on the way to the last component are followed within the tree, as in a chroot
// - directories that no member told of are there with mode 0755, owner 0:0 and time 0; a later member may tell
// - of several members of one path the last wins; directories over directories keep what is in them
// - a hard link is another name of the inode that its target names at that moment, or else at the end
//
// Memory: some 150 bytes a name, and the names themselves. One thread at a time; never blocks.
class tree final : public node_tree {
  public:
    explicit tree(const tree_options& options = {}) : options_(options) {}

    // Errors: corrupt (a path through a file, through symlinks that go round, a hard link to a directory, the root as
    // a file), unsupported (a component of more than 255 bytes, beyond the options' limits). The texts name the path.
    status add(tar_entry&& entry);

    // All members were added. corrupt: the target of a hard link isn't there (unless these are kept).
    status finish();

    struct unresolved_link {
        std::string path;
        std::string target;
    };
    const std::vector<unresolved_link>& unresolved() const { return unresolved_; }

    // With whiteout_mode::as_marks. A directory with a whiteout of its own name is opaque, too.
    bool is_whiteout(std::uint32_t inode) const { return nodes_[inode].whiteout; }
    bool is_opaque(std::uint32_t directory) const { return nodes_[directory].opaque; }

    // Whether no member told of the directory, so that mode, owner and time are made up.
    bool is_implied(std::uint32_t directory) const { return nodes_[directory].implied; }

  private:
    status add_at(const place& where, tar_entry&& entry);
    status add_hard_link(const place& where, const tar_entry& entry);
    status add_whiteout(const place& where, whiteout what);
    status set_root(tar_entry&& entry);
    result<place> make_place(std::string_view path);
    std::uint32_t new_directory(std::uint32_t parent, std::string_view name);
    status add_name(std::uint32_t directory, std::string_view name, std::uint32_t inode);
    status describe(std::uint32_t inode, tar_entry&& entry);
    status charge_name();
    status charge_text(std::uint64_t bytes);

    tree_options options_;
    std::vector<unresolved_link> unresolved_;
    std::uint64_t names_ = 0;
    std::uint64_t text_bytes_ = 0;
};

}  // namespace nerofs::layer
