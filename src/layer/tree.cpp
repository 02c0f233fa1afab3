#include "layer/tree.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "layer/text.h"

namespace nerofs::layer {
namespace {

constexpr unsigned link_rounds = 8;
constexpr std::uint16_t implied_permissions = 0755;
constexpr std::uint32_t root = 0;

erofs::file_type type_of(entry_type type) {
    switch (type) {
        case entry_type::symlink:
            return erofs::file_type::symlink;
        case entry_type::character:
            return erofs::file_type::character;
        case entry_type::block:
            return erofs::file_type::block;
        case entry_type::directory:
            return erofs::file_type::directory;
        case entry_type::fifo:
            return erofs::file_type::fifo;
        default:
            return erofs::file_type::regular;
    }
}

}  // namespace

struct tree::node {
    static constexpr std::uint32_t no_index = ~std::uint32_t{0};

    std::uint64_t size = 0;
    std::uint64_t data_offset = 0;
    erofs::timestamp mtime;
    const std::vector<erofs::xattr>* attributes = nullptr;
    std::uint32_t uid = 0;
    std::uint32_t gid = 0;
    std::uint32_t device_major = 0;
    std::uint32_t device_minor = 0;
    std::uint32_t index = no_index;  // of directories_ or targets_
    std::uint32_t parent = root;     // of a directory
    std::uint16_t permissions = 0;
    erofs::file_type type = erofs::file_type::regular;
    bool whiteout = false;
    bool opaque = false;
    bool implied = false;
};

tree::tree(const tree_options& options) : options_(options) {
    nodes_.emplace_back();
    directories_.emplace_back();
    nodes_[root].type = erofs::file_type::directory;
    nodes_[root].permissions = implied_permissions;
    nodes_[root].implied = true;
    nodes_[root].index = 0;
}

tree::~tree() = default;

status tree::charge(std::uint64_t text) {
    text_bytes_ += text;
    if (text_bytes_ > options_.text_bytes) {
        return fail(error_kind::unsupported,
                    fmt::format("has more than {} bytes of names and attributes", options_.text_bytes));
    }
    return {};
}

std::uint32_t tree::new_node() {
    nodes_.emplace_back();
    return static_cast<std::uint32_t>(nodes_.size() - 1);
}

std::uint32_t tree::new_directory() {
    const std::uint32_t made = new_node();
    nodes_[made].type = erofs::file_type::directory;
    nodes_[made].permissions = implied_permissions;
    nodes_[made].implied = true;
    nodes_[made].index = static_cast<std::uint32_t>(directories_.size());
    directories_.emplace_back();
    return made;
}

std::optional<std::uint32_t> tree::child(std::uint32_t directory, std::string_view name) const {
    const names& in = directories_[nodes_[directory].index];
    const auto found = in.find(name);
    return found == in.end() ? std::nullopt : std::optional<std::uint32_t>(found->second);
}

// Names that were replaced still count: what they named still takes memory.
status tree::link(std::uint32_t directory, const std::string& name, std::uint32_t inode) {
    if (++names_ > options_.names) {
        return fail(error_kind::unsupported, fmt::format("has more than {} members", options_.names));
    }
    const auto [at, fresh] = directories_[nodes_[directory].index].insert_or_assign(name, inode);
    if (nodes_[inode].type == erofs::file_type::directory) nodes_[inode].parent = directory;
    return fresh ? charge(name.size()) : status{};
}

// On the way a whiteout is nothing: what is made in its place is without what lies below.
class tree::walker final : public walked_tree {
  public:
    explicit walker(tree& of) : tree_(of) {}

    result<std::optional<step>> step_to(std::uint32_t directory, std::string_view name, bool create) override {
        auto next = tree_.child(directory, name);
        const bool removed = next && tree_.nodes_[*next].whiteout;
        if (create && (!next || removed)) {
            next = tree_.new_directory();
            tree_.nodes_[*next].opaque = removed;
            NEROFS_CHECK(tree_.link(directory, std::string(name), *next));
        }
        if (!next) return std::optional<step>();
        const node& n = tree_.nodes_[*next];
        step out{*next, n.type == erofs::file_type::directory, {}};
        if (n.type == erofs::file_type::symlink) out.target = tree_.targets_[n.index];
        return std::optional<step>(out);
    }
    std::uint32_t directory_above(std::uint32_t directory) const override { return tree_.nodes_[directory].parent; }

  private:
    tree& tree_;
};

result<std::optional<place>> tree::find(std::string_view path, bool create) {
    walker way(*this);
    return find_place(way, path, create);
}

status tree::describe(std::uint32_t inode, tar_entry&& entry) {
    node& n = nodes_[inode];
    n.permissions = entry.permissions;
    n.uid = entry.uid;
    n.gid = entry.gid;
    n.mtime = entry.mtime;
    n.implied = false;
    const attribute_pool::kept attributes = attributes_.keep(std::move(entry.attributes));
    n.attributes = attributes.set;
    return charge(attributes.bytes);
}

status tree::set_root(tar_entry&& entry) {
    if (entry.type != entry_type::directory) return fail(error_kind::corrupt, "is the root, but not a directory");
    return describe(root, std::move(entry));
}

status tree::add(tar_entry&& entry) {
    const std::string path = entry.path;
    const auto located = [&]() -> status {
        NEROFS_TRY(const std::optional<place> where, find(path, true));
        if (where->name.empty()) return set_root(std::move(entry));
        if (options_.whiteouts == whiteout_mode::as_marks) {
            const whiteout what = whiteout_of(where->name);
            if (what != whiteout::none) return add_whiteout(where->directory, where->name, what);
        }
        if (entry.type == entry_type::hard_link) return add_hard_link(where->directory, where->name, entry);
        return add_at(where->directory, where->name, std::move(entry));
    };
    auto done = located();
    if (!done) return fail(std::move(done).error().in(shown(path)));
    return {};
}

status tree::add_at(std::uint32_t directory, const std::string& name, tar_entry&& entry) {
    const auto there = child(directory, name);
    if (entry.type == entry_type::directory) {
        if (there && nodes_[*there].type == erofs::file_type::directory) return describe(*there, std::move(entry));
        const std::uint32_t made = new_directory();
        nodes_[made].opaque = there && nodes_[*there].whiteout;
        NEROFS_CHECK(describe(made, std::move(entry)));
        return link(directory, name, made);
    }
    const std::uint32_t made = new_node();
    node& n = nodes_[made];
    n.type = type_of(entry.type);
    n.size = entry.size;
    n.data_offset = entry.data_offset;
    n.device_major = entry.device_major;
    n.device_minor = entry.device_minor;
    if (entry.type == entry_type::symlink) {
        n.index = static_cast<std::uint32_t>(targets_.size());
        NEROFS_CHECK(charge(entry.link_target.size()));
        targets_.push_back(std::move(entry.link_target));
        targets_.back().shrink_to_fit();
    }
    NEROFS_CHECK(describe(made, std::move(entry)));
    return link(directory, name, made);
}

result<std::optional<std::uint32_t>> tree::target_of(std::string_view path) {
    NEROFS_TRY(const std::optional<place> where, find(path, false));
    if (!where) return std::optional<std::uint32_t>();
    const auto target = where->name.empty() ? std::optional<std::uint32_t>(root) : child(where->directory, where->name);
    if (!target || nodes_[*target].whiteout) return std::optional<std::uint32_t>();
    if (nodes_[*target].type == erofs::file_type::directory) {
        return fail(error_kind::corrupt, "is a hard link to a directory");
    }
    return target;
}

status tree::add_hard_link(std::uint32_t directory, const std::string& name, const tar_entry& entry) {
    NEROFS_TRY(const std::optional<std::uint32_t> target, target_of(entry.link_target));
    if (target) return link(directory, name, *target);
    if (++names_ > options_.names) {
        return fail(error_kind::unsupported, fmt::format("has more than {} members", options_.names));
    }
    NEROFS_CHECK(charge(entry.path.size() + entry.link_target.size() + sizeof(unresolved_link)));
    directories_[nodes_[directory].index].erase(name);
    unresolved_.push_back({entry.path, entry.link_target});
    return {};
}

status tree::add_whiteout(std::uint32_t directory, const std::string& name, whiteout what) {
    if (what == whiteout::other) return {};
    if (what == whiteout::opaque) {
        nodes_[directory].opaque = true;
        return {};
    }
    const std::string removed(removed_name(name));
    if (const auto there = child(directory, removed)) {
        // A whiteout is about the layers below: what this one has stays, a directory without what they have in it.
        if (nodes_[*there].type == erofs::file_type::directory) nodes_[*there].opaque = true;
        return {};
    }
    const std::uint32_t made = new_node();
    nodes_[made].type = erofs::file_type::character;
    nodes_[made].whiteout = true;
    return link(directory, removed, made);
}

status tree::finish() {
    // Links may be to one another, in any order; a chain that is longer than anyone makes isn't worth its square.
    for (unsigned round = 0; round < link_rounds && !unresolved_.empty(); ++round) {
        std::vector<unresolved_link> left;
        for (unresolved_link& l : unresolved_) {
            NEROFS_TRY(const std::optional<place> where, find(l.path, true));
            if (!where || where->name.empty()) return fail(error_kind::corrupt, "the root is a hard link");
            // A later member of that name has won already.
            const auto there = child(where->directory, where->name);
            if (there && !nodes_[*there].whiteout) continue;
            auto target = target_of(l.target);
            if (!target) return fail(std::move(target).error().in(shown(l.path)));
            if (*target) {
                NEROFS_CHECK(link(where->directory, where->name, **target));
            } else {
                left.push_back(std::move(l));
            }
        }
        unresolved_ = std::move(left);
    }
    if (!unresolved_.empty() && !options_.keep_unresolved) {
        return fail(error_kind::corrupt,
                    fmt::format("{}: is a hard link to {}, which isn't in the archive", shown(unresolved_.front().path),
                                shown(unresolved_.front().target)));
    }
    return {};
}

bool tree::is_whiteout(std::uint32_t inode) const {
    return nodes_[inode].whiteout;
}

bool tree::is_opaque(std::uint32_t directory) const {
    return nodes_[directory].opaque;
}

bool tree::is_implied(std::uint32_t directory) const {
    return nodes_[directory].implied;
}

std::uint32_t tree::inodes() const {
    return static_cast<std::uint32_t>(nodes_.size());
}

erofs::new_inode tree::inode_at(std::uint32_t number) const {
    const node& n = nodes_[number];
    erofs::new_inode out;
    out.type = n.type;
    out.permissions = n.permissions;
    out.uid = n.uid;
    out.gid = n.gid;
    out.mtime = n.mtime;
    out.device_major = n.device_major;
    out.device_minor = n.device_minor;
    out.size = n.size;
    out.data_offset = n.data_offset;
    if (n.type == erofs::file_type::symlink) out.target = targets_[n.index];
    if (n.attributes != nullptr) out.attributes = *n.attributes;
    return out;
}

void tree::list(std::uint32_t directory,
                const std::function<void(std::string_view name, std::uint32_t inode)>& each) const {
    for (const auto& [name, inode] : directories_[nodes_[directory].index]) each(name, inode);
}

}  // namespace nerofs::layer
