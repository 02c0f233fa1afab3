#include "layer/tree.h"

#include <fmt/format.h>

#include <utility>

#include "layer/text.h"

namespace nerofs::layer {
namespace {

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

status tree::charge_name() {
    if (++names_ <= options_.names) return {};
    return fail(error_kind::unsupported, fmt::format("has more than {} members", options_.names));
}

status tree::charge_text(std::uint64_t bytes) {
    text_bytes_ += bytes;
    if (text_bytes_ <= options_.text_bytes) return {};
    return fail(error_kind::unsupported,
                fmt::format("has more than {} bytes of names and attributes", options_.text_bytes));
}

// Names that were replaced still count: what they named still takes memory.
status tree::add_name(std::uint32_t directory, std::string_view name, std::uint32_t inode) {
    NEROFS_CHECK(charge_name());
    return link(directory, name, inode) ? charge_text(name.size()) : status{};
}

// In the place of a whiteout it is without what lies below.
std::uint32_t tree::new_directory(std::uint32_t parent, std::string_view name) {
    const auto there = child(parent, name);
    const std::uint32_t made = new_node(erofs::file_type::directory);
    nodes_[made].opaque = there && nodes_[*there].whiteout;
    return made;
}

result<node_tree::place> tree::make_place(std::string_view path) {
    const auto make = [this](std::uint32_t parent, std::string_view name) -> result<std::uint32_t> {
        const std::uint32_t made = new_directory(parent, name);
        NEROFS_CHECK(add_name(parent, name, made));
        return made;
    };
    NEROFS_TRY(std::optional<place> where, find_place(path, make));
    return *std::move(where);
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
    return charge_text(attributes.bytes);
}

status tree::set_root(tar_entry&& entry) {
    if (entry.type != entry_type::directory) return fail(error_kind::corrupt, "is the root, but not a directory");
    return describe(root, std::move(entry));
}

status tree::add(tar_entry&& entry) {
    const std::string path = entry.path;
    const auto located = [&]() -> status {
        NEROFS_TRY(const place where, make_place(path));
        if (where.name.empty()) return set_root(std::move(entry));
        if (options_.whiteouts == whiteout_mode::as_marks) {
            const whiteout what = whiteout_of(where.name);
            if (what != whiteout::none) return add_whiteout(where, what);
        }
        if (entry.type == entry_type::hard_link) return add_hard_link(where, entry);
        return add_at(where, std::move(entry));
    };
    auto done = located();
    if (!done) return fail(std::move(done).error().in(shown(path)));
    return {};
}

status tree::add_at(const place& where, tar_entry&& entry) {
    if (entry.type == entry_type::directory) {
        const auto there = child(where.directory, where.name);
        if (there && nodes_[*there].type == erofs::file_type::directory) return describe(*there, std::move(entry));
        const std::uint32_t made = new_directory(where.directory, where.name);
        NEROFS_CHECK(describe(made, std::move(entry)));
        return add_name(where.directory, where.name, made);
    }
    const std::uint32_t made = new_node(type_of(entry.type));
    node& n = nodes_[made];
    n.size = entry.size;
    n.data_offset = entry.data_offset;
    n.device_major = entry.device_major;
    n.device_minor = entry.device_minor;
    if (entry.type == entry_type::symlink) {
        NEROFS_CHECK(charge_text(entry.link_target.size()));
        set_target(made, entry.link_target);
    }
    NEROFS_CHECK(describe(made, std::move(entry)));
    return add_name(where.directory, where.name, made);
}

status tree::add_hard_link(const place& where, const tar_entry& entry) {
    NEROFS_TRY(const std::optional<std::uint32_t> target, target_of(entry.link_target));
    if (target) return add_name(where.directory, where.name, *target);
    NEROFS_CHECK(charge_name());
    NEROFS_CHECK(charge_text(entry.path.size() + entry.link_target.size() + sizeof(unresolved_link)));
    names_of(where.directory).erase(where.name);
    unresolved_.push_back({entry.path, entry.link_target});
    return {};
}

status tree::add_whiteout(const place& where, whiteout what) {
    if (what == whiteout::other) return {};
    if (what == whiteout::opaque) {
        nodes_[where.directory].opaque = true;
        return {};
    }
    const std::string_view removed = removed_name(where.name);
    if (const auto there = child(where.directory, removed)) {
        // A whiteout is about the layers below: what this one has stays, a directory without what they have in it.
        if (nodes_[*there].type == erofs::file_type::directory) nodes_[*there].opaque = true;
        return {};
    }
    const std::uint32_t made = new_node(erofs::file_type::character);
    nodes_[made].whiteout = true;
    return add_name(where.directory, removed, made);
}

status tree::finish() {
    const auto make = [&](const unresolved_link& l, unsigned) -> result<bool> {
        NEROFS_TRY(const place where, make_place(l.path));
        if (where.name.empty()) return fail(error_kind::corrupt, "the root is a hard link");
        // A later member of that name has won already.
        const auto there = child(where.directory, where.name);
        if (there && !nodes_[*there].whiteout) return true;
        auto target = target_of(l.target);
        if (!target) return fail(std::move(target).error().in(shown(l.path)));
        if (!*target) return false;
        NEROFS_CHECK(add_name(where.directory, where.name, **target));
        return true;
    };
    NEROFS_CHECK(make_links(unresolved_, make));
    if (unresolved_.empty() || options_.keep_unresolved) return {};
    return fail(error_kind::corrupt, fmt::format("{}: is a hard link to {}, which isn't in the archive",
                                                 shown(unresolved_.front().path), shown(unresolved_.front().target)));
}

}  // namespace nerofs::layer
