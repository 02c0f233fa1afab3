// Inodes and their names, as a tree that is being made has them, and where paths lead in it: what tree and merged_tree
// have in common.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory_resource>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "erofs/writer.h"
#include "layer/attribute_pool.h"

namespace nerofs::layer {

// Nothing is ever freed: who adds names or nodes counts them. Memory: a node has 72 bytes, a name 56 and its text.
class node_tree : public erofs::file_tree {
  public:
    // The inode of a name in a directory.
    std::optional<std::uint32_t> child(std::uint32_t directory, std::string_view name) const;

    std::uint32_t inodes() const override;
    erofs::new_inode inode_at(std::uint32_t number) const override;
    void list(std::uint32_t directory,
              const std::function<void(std::string_view name, std::uint32_t inode)>& each) const override;

  protected:
    static constexpr std::uint32_t root = 0;

    struct node {
        std::uint64_t size = 0;
        std::uint64_t data_offset = 0;
        erofs::timestamp mtime;
        const std::vector<erofs::xattr>* attributes = nullptr;
        std::uint32_t uid = 0;
        std::uint32_t gid = 0;
        std::uint32_t device_major = 0;
        std::uint32_t device_minor = 0;
        std::uint32_t index = 0;      // of directories_ or targets_
        std::uint32_t parent = root;  // of a directory
        std::uint16_t permissions = 0;
        std::uint16_t layer = 0;  // that made it: its data is on the device of that number
        erofs::file_type type = erofs::file_type::regular;
        bool whiteout = false;  // of a name in layers below
        bool opaque = false;    // a directory that hides what layers below have in it
        bool implied = false;   // a directory that nothing told of
    };
    struct place {
        std::uint32_t directory = root;
        std::string name;  // empty: the root itself
    };
    using names = std::pmr::map<std::string_view, std::uint32_t>;
    using maker = std::function<result<std::uint32_t>(std::uint32_t parent, std::string_view name)>;

    // A tree of the root alone.
    node_tree();

    // A directory is empty and implied: mode 0755, owner 0:0 and time 0.
    std::uint32_t new_node(erofs::file_type type, std::uint16_t layer = 0);
    void set_target(std::uint32_t symlink, std::string_view target);
    // Gives the inode that name, whatever had it. Whether nothing had.
    bool link(std::uint32_t directory, std::string_view name, std::uint32_t inode);
    names& names_of(std::uint32_t directory) { return directories_[nodes_[directory].index]; }

    // The directory that the components lead to from `start` on, symlinks followed as in a chroot, the last one, too.
    // Where nothing or a whiteout is on the way, `make` makes a directory and names it. Without `make` nothing is
    // returned then, and where something on the way isn't a directory. Errors: corrupt (symlinks that go round; with
    // `make` a way through something that isn't a directory), unsupported (a name of more than 255 bytes), `make`'s.
    result<std::optional<std::uint32_t>> find_directory(std::uint32_t start, const std::vector<std::string_view>& way,
                                                        const maker& make = {}) const;
    // The same of a path from the root, with ".." applied to it first, but for its last component, which is left alone.
    result<std::optional<place>> find_place(std::string_view path, const maker& make = {}) const;
    // What a hard link to that path is another name of, if that is there. corrupt: a directory.
    result<std::optional<std::uint32_t>> target_of(std::string_view path) const;

    // Hard links may be to one another, in any order: make(link, round) until each was made (true), which is removed. A
    // chain that is longer than anyone makes isn't worth its square: it is left.
    template <class T, class Make>
    static status make_links(std::vector<T>& links, const Make& make) {
        constexpr unsigned rounds = 8;
        for (unsigned round = 0; round < rounds && !links.empty(); ++round) {
            std::vector<T> left;
            for (T& l : links) {
                NEROFS_TRY(const bool made, make(l, round));
                if (!made) left.push_back(std::move(l));
            }
            links = std::move(left);
        }
        return {};
    }

    std::deque<node> nodes_;
    attribute_pool attributes_;

  private:
    std::string_view kept_text(std::string_view text);

    std::pmr::monotonic_buffer_resource pool_;  // of names, targets and directories' nodes
    std::deque<names> directories_;
    std::vector<std::string_view> targets_;
};

}  // namespace nerofs::layer
