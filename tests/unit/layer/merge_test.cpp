// Layers one above the other: each rule by itself, and indexes that lie. Against an unpacker: tests/root/merge.
#include "layer/merge.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <string>
#include <vector>

#include "erofs/ondisk.h"
#include "image.h"
#include "layer/marked_tree.h"
#include "members.h"

namespace nerofs::layer {
namespace {

using namespace test;

struct made_layer {
    std::string index;
    std::vector<tree::unresolved_link> links;
};

// Member n's data is at 512 * n of the tar.
made_layer layer_of(members all) {
    tree_options options;
    options.whiteouts = whiteout_mode::as_marks;
    options.keep_unresolved = true;
    tree t(options);
    std::uint64_t offset = 0;
    for (tar_entry& e : all) {
        if (e.type == entry_type::regular) e.data_offset = offset += 512;
    }
    if (const auto done = add_all(t, std::move(all)); !done) throw std::runtime_error(done.error().message());
    const auto index = erofs::write_index(marked_tree(t), offset + 512);
    if (!index) throw std::runtime_error(index.error().message());
    return {{reinterpret_cast<const char*>(index->bytes.data()), index->bytes.size()}, t.unresolved()};
}

status add(merged_tree& to, const made_layer& l) {
    erofs::memory_reader bytes(test::bytes_of(l.index));
    return to.add(bytes, bytes.size(), l.links);
}

// "a=1@2 ": a is the second member of layer 1.
std::string shown(const merged_tree& t) {
    return test::shown(t, [&](std::uint32_t inode) -> std::string {
        const erofs::new_inode i = t.inode_at(inode);
        if (i.type == erofs::file_type::directory) return "";
        return std::to_string(i.device + 1) + "@" + std::to_string(i.data_offset / 512);
    });
}

std::string merged(std::vector<members> layers) {
    merged_tree t;
    for (members& m : layers) {
        if (const auto added = add(t, layer_of(std::move(m))); !added) return added.error().text;
    }
    return shown(t);
}

erofs::new_inode at(const merged_tree& t, const std::string& path) {
    std::uint32_t here = 0;
    for (const auto& part : std::filesystem::path(path)) here = t.child(here, part.string()).value();
    return t.inode_at(here);
}

TEST(merge, the_upper_layer_wins) {
    EXPECT_EQ(merged({}), "");
    EXPECT_EQ(merged({{member("a"), member("b")}, {member("x"), member("b")}, {}}), "a=1@1 b=2@2 x=2@1 ");
    EXPECT_EQ(merged({{directory("d"), member("d/a"), member("f")}, {member("d"), directory("f")}}), "d=2@1 f/ ");
    EXPECT_EQ(merged({{directory("d"), member("d/a"), symlink("s", "d")}, {symlink("d", "x"), directory("s")}}),
              "d->x s/ ");
}

TEST(merge, a_directory_over_a_directory_has_the_upper_ones_attributes) {
    tar_entry lower = directory("d", 0711);
    lower.attributes = {{"user.lower", "1"}};
    lower.uid = 5;
    tar_entry upper = directory("d", 01777);
    upper.attributes = {{"user.upper", "2"}};
    upper.mtime = {1600000000, 5};
    merged_tree t;
    ASSERT_TRUE(add(t, layer_of({lower, member("d/a")})));
    ASSERT_TRUE(add(t, layer_of({upper, member("d/b")})));
    EXPECT_EQ(shown(t), "d/ d/a=1@1 d/b=2@1 ");
    const erofs::new_inode d = at(t, "d");
    EXPECT_EQ(d.permissions, 01777);
    EXPECT_EQ(d.uid, 0u);
    EXPECT_EQ(d.mtime, (erofs::timestamp{1600000000, 5}));
    ASSERT_EQ(d.attributes.size(), 1u);
    EXPECT_EQ(d.attributes[0].name, "user.upper");
    EXPECT_EQ(t.devices().size(), 2u);
    EXPECT_EQ(t.devices()[0], 1024u);
}

TEST(merge, whiteouts_remove_what_is_below) {
    const members base = {directory("d"), member("d/a"), member("d/b"), member("f")};
    EXPECT_EQ(merged({base, {member(".wh.d"), member(".wh.f"), member(".wh.never")}}), "");
    EXPECT_EQ(merged({base, {member("d/.wh.a")}}), "d/ d/b=1@2 f=1@3 ");
    EXPECT_EQ(merged({base, {member("d/.wh.a")}, {member("d/a")}}), "d/ d/a=3@1 d/b=1@2 f=1@3 ");
    EXPECT_EQ(merged({{member(".wh.f")}, {member("f")}}), "f=2@1 ");
}

TEST(merge, whiteouts_leave_what_their_own_layer_has) {
    const members base = {directory("d"), member("d/a"), member("f")};
    EXPECT_EQ(merged({base, {member(".wh.f"), member("f")}}), "d/ d/a=1@1 f=2@2 ");
    EXPECT_EQ(merged({base, {member("f"), member(".wh.f")}}), "d/ d/a=1@1 f=2@1 ");
    EXPECT_EQ(merged({base, {directory("d"), member("d/x"), member(".wh.d")}}), "d/ d/x=2@1 f=1@2 ");
    EXPECT_EQ(merged({base, {member(".wh.d"), directory("d"), member("d/x")}}), "d/ d/x=2@2 f=1@2 ");
}

TEST(merge, opaque_directories_hide_all_that_is_below) {
    const members base = {directory("d"), member("d/a"), directory("d/e"), member("d/e/b"), member("f")};
    const std::string both = "d/ d/after=2@3 d/before=2@1 f=1@3 ";
    EXPECT_EQ(merged({base, {directory("d"), member("d/before"), member("d/.wh..wh..opq"), member("d/after")}}), both);
    EXPECT_EQ(merged({base, {member("d/.wh..wh..opq")}}), "d/ f=1@3 ");
    EXPECT_EQ(merged({base, {member(".wh..wh..opq"), member("x")}}), "x=2@2 ");
}

TEST(merge, the_marks_are_not_in_the_tree) {
    merged_tree t;
    ASSERT_TRUE(add(t, layer_of({member("made/up/f"), member("d/.wh..wh..opq"), member("d/x")})));
    ASSERT_TRUE(add(t, layer_of({member("made/.wh.up"), member("made/g"), member("d/.wh..wh..opq"), member("d/y")})));
    EXPECT_EQ(shown(t), "d/ d/y=2@4 made/ made/g=2@2 ");
    for (std::uint32_t i = 0; i < t.inodes(); ++i) {
        EXPECT_TRUE(t.inode_at(i).attributes.empty());
        EXPECT_NE(t.inode_at(i).type, erofs::file_type::character);
    }
}

TEST(merge, directories_that_no_member_told_of) {
    tar_entry told = directory("d", 01711);
    told.uid = 9;
    told.mtime = {1500000000, 0};
    told.attributes = {{"user.x", "y"}};
    merged_tree t;
    ASSERT_TRUE(add(t, layer_of({told})));
    ASSERT_TRUE(add(t, layer_of({member("d/new/f")})));
    EXPECT_EQ(shown(t), "d/ d/new/ d/new/f=2@1 ");
    EXPECT_EQ(at(t, "d").permissions, 01711);
    EXPECT_EQ(at(t, "d").uid, 9u);
    EXPECT_EQ(at(t, "d").mtime, (erofs::timestamp{1500000000, 0}));
    EXPECT_EQ(at(t, "d").attributes.size(), 1u);
    EXPECT_EQ(at(t, "d/new").permissions, 0755);
    EXPECT_EQ(at(t, "d/new").mtime, erofs::timestamp{});
    EXPECT_EQ(t.inode_at(0).permissions, 0755);
    // Made of whiteouts alone they aren't there, and take nobody's place.
    EXPECT_EQ(merged({{member("f")}, {member("a/b/.wh.c"), member("f/.wh.x")}}), "f=1@1 ");
    EXPECT_EQ(merged({{member("f")}, {member("f/x")}}), "f/ f/x=2@1 ");
}

TEST(merge, symlinks_below_are_followed_by_directories_that_no_member_told_of) {
    const members base = {directory("usr"),       directory("usr/lib"),    symlink("lib", "usr/lib"),
                          symlink("abs", "/usr"), symlink("loop", "loop"), symlink("dangling", "not/there")};
    const std::string kept = "abs->/usr dangling->not/there lib->usr/lib loop->loop usr/ usr/lib/ ";
    EXPECT_EQ(merged({base, {member("lib/f")}}), kept + "usr/lib/f=2@1 ");
    EXPECT_EQ(merged({base, {member("abs/lib/f"), member("usr/lib/f")}, {member("lib/.wh.f")}}), kept);
    EXPECT_EQ(merged({base, {directory("lib"), member("lib/f")}}),
              "abs->/usr dangling->not/there lib/ lib/f=2@1 loop->loop usr/ usr/lib/ ");
    EXPECT_EQ(merged({base, {member("dangling/f")}}),
              "abs->/usr dangling->not/there lib->usr/lib loop->loop not/ not/there/ not/there/f=2@1 usr/ usr/lib/ ");
    EXPECT_EQ(merged({base, {member("loop/f")}}),
              "abs->/usr dangling->not/there lib->usr/lib loop/ loop/f=2@1 usr/ usr/lib/ ");
    EXPECT_EQ(merged({base, {member("dangling/.wh.f"), member("loop/.wh.f")}}), kept);
    // What the layer has itself in that directory stays.
    EXPECT_EQ(
        merged({base, {member("lib/a"), member("usr/lib/.wh..wh..opq"), member("lib/.wh.b"), member("usr/lib/b")}}),
        kept + "usr/lib/a=2@1 usr/lib/b=2@4 ");
}

// Inodes by name, so that names of one inode have one letter.
std::string inodes_of(const merged_tree& t) {
    std::string out;
    std::vector<std::uint32_t> met;
    const std::function<void(std::uint32_t)> visit = [&](std::uint32_t directory) {
        t.list(directory, [&](std::string_view name, std::uint32_t inode) {
            if (t.inode_at(inode).type == erofs::file_type::directory) return visit(inode);
            const auto found = std::find(met.begin(), met.end(), inode) - met.begin();
            if (static_cast<std::size_t>(found) == met.size()) met.push_back(inode);
            out += std::string(name) + ":" + static_cast<char>('A' + found) + " ";
        });
    };
    visit(0);
    return out;
}

std::string linked(std::vector<members> layers) {
    merged_tree t;
    for (members& m : layers) {
        if (const auto added = add(t, layer_of(std::move(m))); !added) return added.error().text;
    }
    return inodes_of(t);
}

TEST(merge, hard_links) {
    const members base = {member("a"), hard_link("b", "a"), hard_link("d/c", "b"), member("x")};
    EXPECT_EQ(linked({base}), "a:A b:A c:A x:B ");
    EXPECT_EQ(linked({base, {member("b")}}), "a:A b:B c:A x:C ");
    EXPECT_EQ(linked({base, {member(".wh.a")}}), "b:A c:A x:B ");
    // To a layer below, by several steps, in any order, and through symlinks.
    EXPECT_EQ(linked({base, {hard_link("y", "./x"), hard_link("z", "/y")}}), "a:A b:A c:A x:B y:B z:B ");
    EXPECT_EQ(linked({base, {hard_link("z", "y"), hard_link("y", "x")}}), "a:A b:A c:A x:B y:B z:B ");
    EXPECT_EQ(linked({base, {symlink("s", "d")}, {hard_link("s/k", "s/c")}}), "a:A b:A c:A k:A s:B x:C ");
    EXPECT_EQ(linked({base, {}, {hard_link("new/dir/k", "x")}}), "a:A b:A c:A k:B x:B ");
    // Over something else.
    EXPECT_EQ(linked({base, {hard_link("x", "a")}}), "a:A b:A c:A x:A ");
    EXPECT_EQ(linked({base, {hard_link("d", "x")}}), "a:A b:A d:B x:B ");
    // A file that is moved: the link may be told after the name is gone.
    EXPECT_EQ(linked({base, {member(".wh.x"), hard_link("y", "x")}}), "a:A b:A c:A y:B ");
}

TEST(merge, hard_links_to_nothing_are_refused) {
    EXPECT_EQ(merged({{member("a")}, {hard_link("b", "gone")}}),
              "layer 2: 'b': is a hard link to 'gone', which isn't in this layer or below");
    EXPECT_EQ(merged({{directory("d")}, {hard_link("b", "d")}}), "layer 2: 'b': is a hard link to a directory");
    EXPECT_EQ(merged({{hard_link("b", "c"), hard_link("c", "b")}}),
              "layer 1: 'b': is a hard link to 'c', which isn't in this layer or below");
    EXPECT_EQ(merged({{member("f"), member("g")}, {hard_link("f/x", "g")}}),
              "layer 2: 'f/x': leads through something that isn't a directory");
}

TEST(merge, limits) {
    const auto error_of = [](const merge_limits& limits, const std::vector<members>& layers) -> std::string {
        merged_tree t(limits);
        for (const members& m : layers) {
            if (const auto added = add(t, layer_of(m)); !added) return added.error().text;
        }
        return "nothing";
    };
    const members three = {member("a"), member("b"), member("c")};
    EXPECT_EQ(error_of({6, 100}, {three, three}), "nothing");
    EXPECT_EQ(error_of({5, 100}, {three, three}), "layer 2: 'c': the image has more than 5 names");
    // The mark on the root's directory has 32 bytes.
    EXPECT_EQ(error_of({6, 70}, {three, three}), "nothing");
    EXPECT_EQ(error_of({6, 69}, {three, three}),
              "layer 2: 'c': the image has more than 69 bytes of names and attributes");
    EXPECT_EQ(error_of({4, 100}, {three, {hard_link("d", "a"), hard_link("e", "a")}}),
              "layer 2: the image has more than 4 names");
}

// An index is somebody else's: what it says of its data need not be so.
TEST(merge, indexes_that_lie_are_refused) {
    made_layer sound = layer_of({member("f"), member("g")});
    sound.index[1024 + 8] = static_cast<char>(erofs::ondisk::compat_mtime);  // no checksum, which would tell
    const auto error_of = [&](const std::string& index) -> std::string {
        merged_tree t;
        const auto added = add(t, {index, {}});
        return added ? "nothing" : added.error().text;
    };
    EXPECT_EQ(error_of(sound.index), "nothing");
    EXPECT_EQ(error_of(""), "layer 1: not an EROFS image (the file is empty)");
    // g's chunk, {0, device 1, block 2}, made to point elsewhere.
    const std::string chunk("\0\0\1\0\2\0\0\0", 8);
    const std::size_t where = sound.index.rfind(chunk);
    ASSERT_NE(where, std::string::npos);
    std::string lies = sound.index;
    lies[where + 4] = 9;
    EXPECT_EQ(error_of(lies), "layer 1: 'g': its data isn't where it can be");
    lies.replace(where, 8, std::string("\0\0\0\0\2\0\0\0", 8));
    EXPECT_EQ(error_of(lies), "layer 1: 'g': its data isn't in one piece in the layer's tar");
    lies.replace(where, 8, "\xff\xff\xff\xff\xff\xff\xff\xff");  // a hole
    EXPECT_EQ(error_of(lies), "layer 1: 'g': its data isn't in one piece in the layer's tar");
    merged_tree several;
    std::vector<std::uint64_t> two = {512, 512};
    const auto other = erofs::write_index(several, two);
    ASSERT_TRUE(other);
    EXPECT_EQ(error_of({reinterpret_cast<const char*>(other->bytes.data()), other->bytes.size()}),
              "layer 1: the image has 2 extra devices, 1 were given");
}

}  // namespace
}  // namespace nerofs::layer
