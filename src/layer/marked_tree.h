// A layer's tree for its index: what a later merge of layers has to know of directories, said by extended attributes.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string_view>
#include <vector>

#include "erofs/writer.h"
#include "layer/tree.h"

namespace nerofs::layer {

// Both have the value "y". The first is overlayfs' own; the second is on directories that no member told of
// (tree::is_implied), and what an archive says by that name is left out.
inline constexpr std::string_view opaque_attribute = "trusted.overlay.opaque";
inline constexpr std::string_view implied_attribute = "trusted.nerofs.implied";

// A view of a finished tree with whiteout_mode::as_marks, which has to live as long and must not change.
class marked_tree final : public erofs::file_tree {
  public:
    explicit marked_tree(const tree& of);

    std::uint32_t inodes() const override { return tree_.inodes(); }
    erofs::new_inode inode_at(std::uint32_t number) const override;
    void list(std::uint32_t directory,
              const std::function<void(std::string_view name, std::uint32_t inode)>& each) const override {
        tree_.list(directory, each);
    }

  private:
    const tree& tree_;
    std::map<std::uint32_t, std::vector<erofs::xattr>> changed_;  // by inode: all its attributes
};

}  // namespace nerofs::layer
