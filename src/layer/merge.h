// The layers of a container image become one tree, as an unpacker would leave it on disk.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/result.h"
#include "erofs/byte_reader.h"
#include "layer/node_tree.h"
#include "layer/tree.h"

namespace nerofs::layer {

// What a merged tree may cost at most; going beyond is an error of kind unsupported.
struct merge_limits {
    std::uint64_t names = 1U << 22;       // of all layers, and chunks of files
    std::uint64_t text_bytes = 1U << 30;  // names, targets and attributes of all layers
};

// The rules, of OCI's layer.md and of what umoci leaves on disk where that is silent:
// - the upper layer wins; a directory over a directory keeps what is in it and gets the upper one's attributes,
//   anything else replaces what was there
// - a whiteout (character device 0/0) removes the name, and an opaque directory (opaque_attribute) what it has, of the
//   layers below; never of its own layer
// - a directory that no member told of (implied_attribute) leaves that of the layers below as it is, follows a symlink
//   there, or else is new with mode 0755, owner 0:0 and time 0 (not if it has only whiteouts)
// - names of one inode in a layer are names of one inode; a link to what a layer below has shares its inode, also when
//   this layer removes the name it links to
// - replacing one of an inode's names leaves the others
// Both attributes and whiteouts aren't in the tree. The data of a regular file is on device n, for layer n.
//
// Memory: some 150 bytes a name, and the names themselves. One thread at a time.
class merged_tree final : public node_tree {
  public:
    explicit merged_tree(const merge_limits& limits = {}) : limits_(limits) {}

    // The next layer, the lowest first: its tree as EROFS metadata whose one device is the layer's tar (layer_index.h),
    // and its hard links to layers below. `index` is only read during the call; blocks as it does. After an error the
    // tree is of no use. Errors: corrupt (also: a link to what isn't there, or to a directory), unsupported (beyond the
    // limits, data that isn't whole in the tar at a multiple of 512, more than 4096 layers), those of `index`. The
    // texts name the layer from 1, and where they can the path's last component.
    status add(erofs::byte_reader& index, std::uint64_t index_bytes, std::span<const tree::unresolved_link> links = {});

    // Bytes of each layer's tar, as its index says, for erofs::write_index(). Multiples of 512.
    std::span<const std::uint64_t> devices() const { return devices_; }

  private:
    class one_layer;

    status charge_name();
    status charge_text(std::uint64_t bytes);
    std::uint16_t layer() const { return static_cast<std::uint16_t>(devices_.size() - 1); }

    merge_limits limits_;
    std::vector<std::uint64_t> devices_;
    std::uint64_t names_ = 0;
    std::uint64_t text_bytes_ = 0;
};

}  // namespace nerofs::layer
