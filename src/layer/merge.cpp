#include "layer/merge.h"

#include <fmt/format.h>

#include <algorithm>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "base/checked.h"
#include "erofs/reader.h"
#include "layer/marked_tree.h"
#include "layer/text.h"

namespace nerofs::layer {
namespace {

constexpr std::uint16_t permission_bits = 07777;
constexpr std::uint64_t data_alignment = 512;

// An index's device is only pointed into, never read.
class no_data final : public erofs::byte_reader {
  public:
    status read_exact(std::uint64_t, std::span<std::byte>) override {
        return fail(error_kind::corrupt, "its metadata lies in the layer's data");
    }
};

struct described {
    std::vector<erofs::xattr> attributes;  // without the marks
    bool opaque = false;
    bool implied = false;
};

bool is_whiteout(const erofs::inode& i) {
    return i.type == erofs::file_type::character && i.device_major == 0 && i.device_minor == 0;
}

}  // namespace

status merged_tree::charge_name() {
    if (++names_ <= limits_.names) return {};
    return fail(error_kind::unsupported, fmt::format("the image has more than {} names", limits_.names));
}

status merged_tree::charge_text(std::uint64_t bytes) {
    text_bytes_ += bytes;
    if (text_bytes_ <= limits_.text_bytes) return {};
    return fail(error_kind::unsupported,
                fmt::format("the image has more than {} bytes of names and attributes", limits_.text_bytes));
}

// One layer on its way into the tree.
class merged_tree::one_layer {
  public:
    one_layer(merged_tree& into, erofs::reader& index) : tree_(into), index_(index) {}

    status merge();

    // What the links lead to in the layers below; before merge().
    status look_up(std::span<const tree::unresolved_link> links);
    // Makes them; after merge().
    status make();

  private:
    struct directory {
        erofs::inode from;
        std::uint32_t to;
    };
    // A directory that the layer only implies.
    struct made_directory {
        std::uint32_t parent;
        std::uint32_t inode;
        std::optional<std::uint32_t> instead_of;
        std::string name;
    };
    struct pending_link {
        const tree::unresolved_link* link;
        std::optional<std::uint32_t> below;
    };
    // A directory that no member told of where the layers below have a symlink.
    struct detour {
        erofs::inode from;
        std::uint32_t parent;
        std::string name;
        described what;
    };

    result<described> describe(const erofs::inode& i);
    status take(std::uint32_t parent, const erofs::directory_entry& entry);
    status take_directory(std::uint32_t parent, std::string_view name, const erofs::inode& i);
    status enter(const erofs::inode& from, std::uint32_t to, described&& what);
    status enter_new(std::uint32_t parent, std::string_view name, const erofs::inode& from, described&& what);
    status follow(detour&& d);
    status drain();
    void hide(std::uint32_t parent, std::string_view name);
    void hide_all(std::uint32_t parent);
    status fill(std::uint32_t to, const erofs::inode& i, std::vector<erofs::xattr>&& attributes);
    result<std::uint32_t> copy(const erofs::inode& i);
    result<std::uint64_t> data_offset(const erofs::inode& file);
    result<std::uint32_t> make_directory(std::uint32_t parent, std::string_view name);

    merged_tree& tree_;
    erofs::reader& index_;
    std::vector<directory> to_do_;
    std::vector<detour> detours_;
    std::vector<made_directory> made_up_;  // parents first
    std::vector<pending_link> links_;
    std::unordered_set<std::uint64_t> met_;                        // directories, by nid
    std::unordered_map<std::uint64_t, std::uint32_t> hard_links_;  // inodes of several names, by nid
    const maker make_ = [this](auto parent, auto name) { return make_directory(parent, name); };
};

result<described> merged_tree::one_layer::describe(const erofs::inode& i) {
    described out;
    if (i.xattr_size == 0) return out;
    NEROFS_CHECK(tree_.charge_text(i.xattr_size));  // what is read; fill() counts what it says
    NEROFS_TRY(out.attributes, index_.xattrs(i));
    std::erase_if(out.attributes, [&](const erofs::xattr& a) {
        const bool is_opaque = a.name == opaque_attribute;
        const bool is_implied = a.name == implied_attribute;
        if (a.value == "y") {
            out.opaque |= is_opaque;
            out.implied |= is_implied;
        }
        return is_opaque || is_implied;
    });
    return out;
}

status merged_tree::one_layer::merge() {
    NEROFS_TRY(const erofs::inode top, index_.root());
    met_.insert(top.nid);
    NEROFS_TRY(described what, describe(top));
    NEROFS_CHECK(enter(top, root, std::move(what)));
    NEROFS_CHECK(drain());
    // Last, so that the layer's own directories are there: an unpacker meets them in the archive's order, which is
    // lost.
    while (!detours_.empty()) {
        detour next = std::move(detours_.back());
        detours_.pop_back();
        const std::string name = next.name;
        if (auto done = follow(std::move(next)); !done) return fail(std::move(done).error().in(shown(name)));
        NEROFS_CHECK(drain());
    }
    // Whiteouts of what isn't there make no directories, and replace nothing.
    for (auto d = made_up_.rbegin(); d != made_up_.rend(); ++d) {
        if (tree_.child(d->parent, d->name) != d->inode || !tree_.names_of(d->inode).empty()) continue;
        if (d->instead_of) {
            tree_.link(d->parent, d->name, *d->instead_of);
        } else {
            tree_.names_of(d->parent).erase(d->name);
        }
    }
    return {};
}

status merged_tree::one_layer::drain() {
    while (!to_do_.empty()) {
        const directory here = to_do_.back();
        to_do_.pop_back();
        status outcome;
        const auto each = [&](const erofs::directory_entry& entry) {
            outcome = take(here.to, entry);
            if (!outcome) outcome = fail(std::move(outcome).error().in(shown(entry.name)));
            return outcome.has_value();
        };
        NEROFS_CHECK(index_.list(here.from, each));
        NEROFS_CHECK(outcome);
    }
    return {};
}

status merged_tree::one_layer::take(std::uint32_t parent, const erofs::directory_entry& entry) {
    const std::string_view name = entry.name;
    NEROFS_CHECK(tree_.charge_name());
    NEROFS_CHECK(tree_.charge_text(name.size()));
    NEROFS_TRY(const erofs::inode i, index_.read_inode(entry.nid));
    if (is_whiteout(i)) {
        hide(parent, name);
        return {};
    }
    if (i.type == erofs::file_type::directory) return take_directory(parent, name, i);
    NEROFS_TRY(const std::uint32_t made, copy(i));
    tree_.link(parent, name, made);
    return {};
}

status merged_tree::one_layer::take_directory(std::uint32_t parent, std::string_view name, const erofs::inode& i) {
    if (!met_.insert(i.nid).second) return fail(error_kind::corrupt, "a directory with two names");
    NEROFS_TRY(described what, describe(i));
    const auto there = tree_.child(parent, name);
    const auto type = there ? tree_.nodes_[*there].type : erofs::file_type::regular;
    // Opaque, it is most often a symlink that was removed and replaced.
    if (what.implied && !what.opaque && type == erofs::file_type::symlink) {
        detours_.push_back({i, parent, std::string(name), std::move(what)});
        return {};
    }
    if (type == erofs::file_type::directory) return enter(i, *there, std::move(what));
    return enter_new(parent, name, i, std::move(what));
}

// Where the symlink doesn't lead to a directory, the layer's own takes its place.
status merged_tree::one_layer::follow(detour&& d) {
    auto to = tree_.find_directory(d.parent, {d.name}, make_);
    if (!to && to.error().kind != error_kind::corrupt) return fail(std::move(to).error());
    if (to) return enter(d.from, **to, std::move(d.what));
    return enter_new(d.parent, d.name, d.from, std::move(d.what));
}

status merged_tree::one_layer::enter_new(std::uint32_t parent, std::string_view name, const erofs::inode& from,
                                         described&& what) {
    const auto there = tree_.child(parent, name);
    const std::uint32_t made = tree_.new_node(erofs::file_type::directory, tree_.layer());
    tree_.link(parent, name, made);
    if (what.implied) made_up_.push_back({parent, made, what.opaque ? std::nullopt : there, std::string(name)});
    return enter(from, made, std::move(what));
}

status merged_tree::one_layer::enter(const erofs::inode& from, std::uint32_t to, described&& what) {
    if (what.opaque) hide_all(to);
    if (!what.implied) NEROFS_CHECK(fill(to, from, std::move(what.attributes)));
    to_do_.push_back({from, to});
    return {};
}

void merged_tree::one_layer::hide(std::uint32_t parent, std::string_view name) {
    names& in = tree_.names_of(parent);
    const auto at = in.find(name);
    if (at != in.end() && tree_.nodes_[at->second].layer != tree_.layer()) in.erase(at);
}

void merged_tree::one_layer::hide_all(std::uint32_t parent) {
    std::erase_if(tree_.names_of(parent),
                  [&](const auto& entry) { return tree_.nodes_[entry.second].layer != tree_.layer(); });
}

status merged_tree::one_layer::fill(std::uint32_t to, const erofs::inode& i, std::vector<erofs::xattr>&& attributes) {
    std::uint64_t bytes = 0;
    for (const erofs::xattr& a : attributes) bytes += sizeof a + a.name.size() + a.value.size();
    NEROFS_CHECK(tree_.charge_text(bytes));
    node& n = tree_.nodes_[to];
    n.permissions = i.mode & permission_bits;
    n.uid = i.uid;
    n.gid = i.gid;
    n.mtime = i.mtime;
    n.attributes = tree_.attributes_.keep(std::move(attributes)).set;
    return {};
}

// What isn't a directory, or the copy of it that another name of it has.
result<std::uint32_t> merged_tree::one_layer::copy(const erofs::inode& i) {
    if (i.links > 1) {
        const auto known = hard_links_.find(i.nid);
        if (known != hard_links_.end()) return known->second;
    }
    const std::uint32_t made = tree_.new_node(i.type, tree_.layer());
    node& n = tree_.nodes_[made];
    n.device_major = i.device_major;
    n.device_minor = i.device_minor;
    if (i.type == erofs::file_type::regular && i.size > 0) {
        n.size = i.size;
        NEROFS_TRY(n.data_offset, data_offset(i));
    } else if (i.type == erofs::file_type::symlink) {
        NEROFS_CHECK(tree_.charge_text(i.size));
        NEROFS_TRY(const std::string target, index_.read_link(i));
        tree_.set_target(made, target);
    }
    NEROFS_TRY(described what, describe(i));
    NEROFS_CHECK(fill(made, i, std::move(what.attributes)));
    if (i.links > 1) hard_links_.emplace(i.nid, made);
    return made;
}

// Where in the layer's tar a file's data is, which must be in one piece.
result<std::uint64_t> merged_tree::one_layer::data_offset(const erofs::inode& file) {
    std::uint64_t start = 0;
    for (std::uint64_t at = 0; at < file.size;) {
        NEROFS_TRY(const erofs::extent e, index_.map(file, at));
        if (at == 0) start = e.address;
        if (e.from != erofs::extent::source::device || e.device != 1 || e.address != start + at) {
            return fail(error_kind::unsupported, "its data isn't in one piece in the layer's tar");
        }
        if (at > 0) NEROFS_CHECK(tree_.charge_name());
        at += e.length;
    }
    if (start % data_alignment != 0 || !range_within(start, file.size, tree_.devices_.back())) {
        return fail(error_kind::corrupt, "its data isn't where it can be");
    }
    return start;
}

result<std::uint32_t> merged_tree::one_layer::make_directory(std::uint32_t parent, std::string_view name) {
    NEROFS_CHECK(tree_.charge_name());
    NEROFS_CHECK(tree_.charge_text(name.size()));
    const std::uint32_t made = tree_.new_node(erofs::file_type::directory, tree_.layer());
    tree_.link(parent, name, made);
    made_up_.push_back({parent, made, {}, std::string(name)});
    return made;
}

status merged_tree::one_layer::look_up(std::span<const tree::unresolved_link> links) {
    for (const tree::unresolved_link& l : links) {
        NEROFS_CHECK(tree_.charge_name());
        NEROFS_CHECK(tree_.charge_text(l.path.size() + l.target.size()));
        auto found = tree_.target_of(l.target);
        links_.push_back({&l, found ? *found : std::nullopt});  // make() has the last word
    }
    return {};
}

status merged_tree::one_layer::make() {
    const auto make_one = [&](const pending_link& p, unsigned round) -> result<bool> {
        NEROFS_TRY(auto target, tree_.target_of(p.link->target));
        if (!target && round > 0) target = p.below;
        if (!target) return false;
        NEROFS_TRY(const std::optional<place> where, tree_.find_place(p.link->path, make_));
        if (where->name.empty()) return fail(error_kind::corrupt, "the root is a hard link");
        tree_.link(where->directory, where->name, *target);
        return true;
    };
    NEROFS_CHECK(make_links(links_, [&](const pending_link& p, unsigned round) {
        auto made = make_one(p, round);
        return made ? made : fail(std::move(made).error().in(shown(p.link->path)));
    }));
    if (links_.empty()) return {};
    const tree::unresolved_link& l = *links_.front().link;
    return fail(error_kind::corrupt, fmt::format("{}: is a hard link to {}, which isn't in this layer or below",
                                                 shown(l.path), shown(l.target)));
}

status merged_tree::add(erofs::byte_reader& index, std::uint64_t index_bytes,
                        std::span<const tree::unresolved_link> links) {
    const auto run = [&]() -> status {
        if (devices_.size() == erofs::extra_devices_cap) {
            return fail(error_kind::unsupported, fmt::format("nerofs takes at most {} layers", devices_.size()));
        }
        no_data data;
        NEROFS_TRY(erofs::reader image, erofs::reader::open(index, index_bytes, {&data}));
        const erofs::device_info& device = image.super().devices.front();
        const auto bytes = checked_mul<std::uint64_t>(device.blocks, image.super().block_size());
        if (!bytes) return fail(error_kind::corrupt, "its device is larger than there can be");
        devices_.push_back(*bytes);
        one_layer next(*this, image);
        NEROFS_CHECK(next.look_up(links));
        NEROFS_CHECK(next.merge());
        return next.make();
    };
    const std::size_t number = devices_.size() + 1;
    if (auto done = run(); !done) return fail(std::move(done).error().in(fmt::format("layer {}", number)));
    return {};
}

}  // namespace nerofs::layer
