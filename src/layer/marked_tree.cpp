#include "layer/marked_tree.h"

#include <algorithm>
#include <string>

namespace nerofs::layer {
namespace {

void set(std::vector<erofs::xattr>& attributes, std::string_view name) {
    const auto at = std::lower_bound(attributes.begin(), attributes.end(), name,
                                     [](const erofs::xattr& a, std::string_view n) { return a.name < n; });
    if (at != attributes.end() && at->name == name) {
        at->value = "y";
    } else {
        attributes.insert(at, {std::string(name), "y"});
    }
}

}  // namespace

marked_tree::marked_tree(const tree& of) : tree_(of) {
    const auto forged = [](const erofs::xattr& a) { return a.name == implied_attribute; };
    for (std::uint32_t i = 0; i < tree_.inodes(); ++i) {
        const erofs::new_inode inode = tree_.inode_at(i);
        const bool marked = inode.type == erofs::file_type::directory && (tree_.is_opaque(i) || tree_.is_implied(i));
        if (!marked && std::none_of(inode.attributes.begin(), inode.attributes.end(), forged)) continue;
        std::vector<erofs::xattr>& attributes = changed_[i];
        attributes.assign(inode.attributes.begin(), inode.attributes.end());
        std::erase_if(attributes, forged);
        if (marked && tree_.is_opaque(i)) set(attributes, opaque_attribute);
        if (marked && tree_.is_implied(i)) set(attributes, implied_attribute);
    }
}

erofs::new_inode marked_tree::inode_at(std::uint32_t number) const {
    erofs::new_inode inode = tree_.inode_at(number);
    if (const auto changed = changed_.find(number); changed != changed_.end()) inode.attributes = changed->second;
    return inode;
}

}  // namespace nerofs::layer
