#include "layer/node_tree.h"

#include <algorithm>

namespace nerofs::layer {
namespace {

constexpr std::uint16_t implied_permissions = 0755;
constexpr unsigned symlink_cap = 40;   // as the kernel's MAXSYMLINKS
constexpr unsigned steps_cap = 10000;  // components walked for one path, those of symlinks included
constexpr std::size_t name_cap = 255;

status check_name(std::string_view name) {
    if (name.size() > name_cap) return fail(error_kind::unsupported, "a name of more than 255 bytes");
    return {};
}

// The components of a path, without empty ones and "."; of a symlink's target ".." may be among them.
std::vector<std::string_view> components(std::string_view path) {
    std::vector<std::string_view> out;
    while (!path.empty()) {
        const std::size_t slash = std::min(path.find('/'), path.size());
        if (slash > 0 && path.substr(0, slash) != ".") out.push_back(path.substr(0, slash));
        path.remove_prefix(std::min(slash + 1, path.size()));
    }
    return out;
}

// The same with ".." applied, which ends at the root.
std::vector<std::string_view> cleaned(std::string_view path) {
    std::vector<std::string_view> out;
    for (const std::string_view component : components(path)) {
        if (component != "..") {
            out.push_back(component);
        } else if (!out.empty()) {
            out.pop_back();
        }
    }
    return out;
}

}  // namespace

node_tree::node_tree() {
    new_node(erofs::file_type::directory);
}

std::string_view node_tree::kept_text(std::string_view text) {
    char* const to = static_cast<char*>(pool_.allocate(text.size(), 1));
    text.copy(to, text.size());
    return {to, text.size()};
}

std::uint32_t node_tree::new_node(erofs::file_type type, std::uint16_t layer) {
    node& n = nodes_.emplace_back();
    n.type = type;
    n.layer = layer;
    if (type == erofs::file_type::directory) {
        n.permissions = implied_permissions;
        n.implied = true;
        n.index = static_cast<std::uint32_t>(directories_.size());
        directories_.emplace_back(&pool_);
    }
    return static_cast<std::uint32_t>(nodes_.size() - 1);
}

void node_tree::set_target(std::uint32_t symlink, std::string_view target) {
    nodes_[symlink].index = static_cast<std::uint32_t>(targets_.size());
    targets_.push_back(kept_text(target));
}

bool node_tree::link(std::uint32_t directory, std::string_view name, std::uint32_t inode) {
    if (nodes_[inode].type == erofs::file_type::directory) nodes_[inode].parent = directory;
    names& in = names_of(directory);
    const auto at = in.lower_bound(name);
    const bool fresh = at == in.end() || at->first != name;
    if (fresh) {
        in.emplace_hint(at, kept_text(name), inode);
    } else {
        at->second = inode;
    }
    return fresh;
}

std::optional<std::uint32_t> node_tree::child(std::uint32_t directory, std::string_view name) const {
    const names& in = directories_[nodes_[directory].index];
    const auto found = in.find(name);
    return found == in.end() ? std::nullopt : std::optional<std::uint32_t>(found->second);
}

result<std::optional<std::uint32_t>> node_tree::find_directory(std::uint32_t start,
                                                               const std::vector<std::string_view>& way,
                                                               const maker& make) const {
    std::vector<std::string> waiting(way.rbegin(), way.rend());  // components to go, the next one last
    std::uint32_t here = start;
    unsigned symlinks = 0;
    unsigned steps = 0;
    while (!waiting.empty()) {
        if (++steps > steps_cap) return fail(error_kind::corrupt, "leads through too many symlinks");
        const std::string name = std::move(waiting.back());
        waiting.pop_back();
        if (name == "..") {  // of a symlink's target
            here = nodes_[here].parent;
            continue;
        }
        NEROFS_CHECK(check_name(name));
        const auto next = child(here, name);
        if (!next || nodes_[*next].whiteout) {
            if (!make) return std::optional<std::uint32_t>();
            NEROFS_TRY(here, make(here, name));
            continue;
        }
        const node& n = nodes_[*next];
        if (n.type == erofs::file_type::symlink) {
            if (++symlinks > symlink_cap) return fail(error_kind::corrupt, "leads through too many symlinks");
            const std::string_view target = targets_[n.index];
            if (target.starts_with('/')) here = root;
            const auto parts = components(target);
            waiting.insert(waiting.end(), parts.rbegin(), parts.rend());
        } else if (n.type == erofs::file_type::directory) {
            here = *next;
        } else {
            if (!make) return std::optional<std::uint32_t>();
            return fail(error_kind::corrupt, "leads through something that isn't a directory");
        }
    }
    return std::optional<std::uint32_t>(here);
}

result<std::optional<node_tree::place>> node_tree::find_place(std::string_view path, const maker& make) const {
    std::vector<std::string_view> way = cleaned(path);
    if (way.empty()) return std::optional<place>(place{});
    const std::string_view last = way.back();
    way.pop_back();
    NEROFS_TRY(const std::optional<std::uint32_t> directory, find_directory(root, way, make));
    if (!directory) return std::optional<place>();
    NEROFS_CHECK(check_name(last));
    return std::optional<place>(place{*directory, std::string(last)});
}

result<std::optional<std::uint32_t>> node_tree::target_of(std::string_view path) const {
    NEROFS_TRY(const std::optional<place> where, find_place(path));
    if (!where) return std::optional<std::uint32_t>();
    const auto target = where->name.empty() ? std::optional(root) : child(where->directory, where->name);
    if (!target || nodes_[*target].whiteout) return std::optional<std::uint32_t>();
    if (nodes_[*target].type == erofs::file_type::directory) {
        return fail(error_kind::corrupt, "is a hard link to a directory");
    }
    return target;
}

std::uint32_t node_tree::inodes() const {
    return static_cast<std::uint32_t>(nodes_.size());
}

erofs::new_inode node_tree::inode_at(std::uint32_t number) const {
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
    out.device = n.layer;
    out.data_offset = n.data_offset;
    if (n.type == erofs::file_type::symlink) out.target = targets_[n.index];
    if (n.attributes != nullptr) out.attributes = *n.attributes;
    return out;
}

void node_tree::list(std::uint32_t directory,
                     const std::function<void(std::string_view name, std::uint32_t inode)>& each) const {
    for (const auto& [name, inode] : directories_[nodes_[directory].index]) each(name, inode);
}

}  // namespace nerofs::layer
