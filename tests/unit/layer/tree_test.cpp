// What members make of a tree, in any order and with any tricks.
#include "layer/tree.h"

#include <gtest/gtest.h>
#include <malloc.h>

#include <string>
#include <vector>

#include "members.h"

namespace nerofs::layer {
namespace {

using namespace test;

// Opaque directories are marked by "!".
std::string shown(const tree& t) {
    return test::shown(t, [&](std::uint32_t inode) -> std::string {
        const erofs::new_inode i = t.inode_at(inode);
        if (i.type == erofs::file_type::directory) return t.is_opaque(inode) ? "!" : "";
        return t.is_whiteout(inode) ? "gone" : std::to_string(i.size);
    });
}

std::string made_of(members all, const tree_options& options = {}) {
    tree t(options);
    const auto done = add_all(t, std::move(all));
    return done ? shown(t) : done.error().text;
}

TEST(tree, members_before_their_parents) {
    tree t;
    ASSERT_TRUE(t.add(member("a/b/c")));
    const auto a = t.child(0, "a");
    ASSERT_TRUE(a);
    EXPECT_EQ(t.inode_at(*a).permissions, 0755);
    EXPECT_TRUE(t.is_implied(*a));
    tar_entry told = directory("./a/");
    told.permissions = 01777;
    told.uid = 5;
    ASSERT_TRUE(t.add(std::move(told)));
    EXPECT_EQ(t.child(0, "a"), a);
    EXPECT_FALSE(t.is_implied(*a));
    EXPECT_EQ(t.inode_at(*a).permissions, 01777);
    EXPECT_EQ(t.inode_at(*a).uid, 5u);
    EXPECT_EQ(shown(t), "a/ a/b/ a/b/c=5 ");
    tar_entry attributed = directory("a/");
    attributed.attributes = {{"user.a", "1"}};
    ASSERT_TRUE(t.add(std::move(attributed)));
    EXPECT_EQ(t.inode_at(*a).attributes.size(), 1u);
    ASSERT_TRUE(t.add(directory("a/")));
    EXPECT_TRUE(t.inode_at(*a).attributes.empty());
    tar_entry top = directory("./");
    top.gid = 9;
    ASSERT_TRUE(t.add(std::move(top)));
    EXPECT_EQ(t.inode_at(0).gid, 9u);
}

TEST(tree, the_later_member_wins) {
    EXPECT_EQ(made_of({member("xx"), member("./xx")}), "xx=4 ");
    EXPECT_EQ(made_of({directory("d/"), member("d/x"), member("d")}), "d=1 ");
    EXPECT_EQ(made_of({member("d"), directory("d/"), member("d/x")}), "d/ d/x=3 ");
    EXPECT_EQ(made_of({member("d/x"), directory("d/")}), "d/ d/x=3 ");
    EXPECT_EQ(made_of({member("d/x"), member("d"), directory("d/")}), "d/ ");
    EXPECT_EQ(made_of({symlink("s", "d"), directory("s"), member("s/x")}), "s/ s/x=3 ");
}

TEST(tree, paths_stay_inside) {
    EXPECT_EQ(made_of({member("/etc/x"), member("../../y"), member("a/../../z"), member("//b/./c")}),
              "b/ b/c=7 etc/ etc/x=6 y=7 z=9 ");
    EXPECT_EQ(made_of({symlink("s", "/etc"), member("s/x"), symlink("t", "../../../up"), member("t/y")}),
              "etc/ etc/x=3 s->/etc t->../../../up up/ up/y=3 ");
    EXPECT_EQ(made_of({directory("a/b/"), symlink("a/b/s", "../c"), member("a/b/s/f")}),
              "a/ a/b/ a/b/s->../c a/c/ a/c/f=7 ");
    // ".." goes before symlinks, as the path is cleaned first.
    EXPECT_EQ(made_of({directory("d/e/"), symlink("s", "d/e"), member("s/../f")}), "d/ d/e/ f=6 s->d/e ");
    EXPECT_EQ(made_of({symlink("p", "q"), symlink("q", "p"), member("p/x")}), "'p/x': leads through too many symlinks");
    EXPECT_EQ(made_of({member("f"), member("f/x")}), "'f/x': leads through something that isn't a directory");
    EXPECT_EQ(made_of({member("..")}), "'..': is the root, but not a directory");
    EXPECT_EQ(made_of({member(std::string(255, 'n'))}), std::string(255, 'n') + "=255 ");
    EXPECT_EQ(made_of({member("a\n" + std::string(254, 'n'))}),
              "'a\\x0a" + std::string(98, 'n') + "…': a name of more than 255 bytes");
    // Long targets don't multiply the work by forty.
    std::string far = "/";
    for (int i = 0; i < 1000; ++i) far += "a/";
    EXPECT_EQ(made_of({symlink("s", far + "../../t"), member(far + "f"), member("s/x"), symlink("p", far + "q"),
                       symlink(far + "q", "/p"), member("p/x")}),
              "'p/x': leads through too many symlinks");
    std::string back;
    for (int i = 0; i < 1000; ++i) back += "../";
    members winding{directory(far), directory("s0")};
    for (int i = 1; i < 12; ++i) {
        winding.push_back(symlink("s" + std::to_string(i), far + back + "s" + std::to_string(i - 1)));
    }
    winding.push_back(member("s3/x"));
    tree t;
    for (tar_entry& m : winding) ASSERT_TRUE(t.add(std::move(m)));
    EXPECT_EQ(t.add(member("s11/x")).error().text, "'s11/x': leads through too many symlinks");
}

TEST(tree, hard_links_are_names_of_one_inode) {
    tree t;
    ASSERT_TRUE(t.add(member("bin/a")));
    ASSERT_TRUE(t.add(symlink("s", "bin")));
    ASSERT_TRUE(t.add(hard_link("b", "/s/a")));
    ASSERT_TRUE(t.add(hard_link("ls", "s")));
    ASSERT_TRUE(t.add(hard_link("early", "late")));
    ASSERT_TRUE(t.add(member("bin/a")));  // b keeps the old one
    ASSERT_TRUE(t.add(member("late")));
    ASSERT_TRUE(t.finish());
    const auto bin = t.child(0, "bin");
    EXPECT_NE(t.child(0, "b"), t.child(*bin, "a"));
    EXPECT_EQ(t.child(0, "early"), t.child(0, "late"));
    EXPECT_EQ(t.child(0, "ls"), t.child(0, "s"));
    EXPECT_EQ(made_of({member("a"), hard_link("a", "a")}), "a=1 ");
    EXPECT_EQ(made_of({member("x"), hard_link("x", "yyy"), member("yyy")}), "x=3 yyy=3 ");
    EXPECT_EQ(made_of({hard_link("x", "yyy"), member("yyy"), member("x")}), "x=1 yyy=3 ");
    EXPECT_EQ(made_of({directory("d/"), hard_link("x", "d")}), "'x': is a hard link to a directory");
    EXPECT_EQ(made_of({hard_link("x", "d"), directory("d/")}), "'x': is a hard link to a directory");
    EXPECT_EQ(made_of({hard_link("x", "nowhere")}), "'x': is a hard link to 'nowhere', which isn't in the archive");
    EXPECT_EQ(made_of({hard_link("x", "nowhere"), member("x")}), "x=1 ");
    tree_options below;
    below.keep_unresolved = true;
    tree kept(below);
    ASSERT_TRUE(kept.add(hard_link("x", "nowhere")));
    ASSERT_TRUE(kept.finish());
    ASSERT_EQ(kept.unresolved().size(), 1u);
    EXPECT_EQ(kept.unresolved()[0].target, "nowhere");
}

TEST(tree, whiteouts_as_files_and_as_marks) {
    const members all = {member("a/.wh.x"),     member("b/.wh..wh..opq"), member("c/y"),   member("c/.wh.y"),
                         directory("d/"),       member(".wh.d"),          member(".wh.e"), member("e/f"),
                         member(".wh..wh.plnk")};
    EXPECT_EQ(made_of(all),
              ".wh..wh.plnk=12 .wh.d=5 .wh.e=5 a/ a/.wh.x=7 b/ b/.wh..wh..opq=14 c/ c/.wh.y=7 c/y=3 d/ e/ e/f=3 ");
    tree_options marks;
    marks.whiteouts = whiteout_mode::as_marks;
    EXPECT_EQ(made_of(all, marks), "a/ a/x=gone b/! c/ c/y=3 d/! e/! e/f=3 ");
    EXPECT_EQ(made_of({member(".wh.f"), member("f")}, marks), "f=1 ");
    EXPECT_EQ(made_of({member(".wh.f"), directory("f")}, marks), "f/! ");
}

TEST(tree, limits) {
    tree_options few;
    few.names = 3;
    EXPECT_EQ(made_of({member("a/b/c")}, few), "a/ a/b/ a/b/c=5 ");
    EXPECT_EQ(made_of({member("a/b/c/d")}, few), "'a/b/c/d': has more than 3 members");
    tree_options little;
    little.text_bytes = 10;
    EXPECT_EQ(made_of({member("0123456789")}, little), "0123456789=10 ");
    EXPECT_EQ(made_of({member("0123456789a")}, little),
              "'0123456789a': has more than 10 bytes of names and attributes");
}

// The memory that is taken from the allocator, whole pages of its own included.
std::size_t memory_in_use() {
    const struct mallinfo2 info = ::mallinfo2();
    return info.uordblks + info.hblkhd;
}

TEST(tree, memory_is_at_most_400_bytes_a_file_with_the_index) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    GTEST_SKIP() << "a sanitizer's allocator doesn't tell";
#endif
    constexpr std::size_t files = 50000;
    const std::size_t before = memory_in_use();
    tree t;
    std::size_t text = 0;
    for (std::size_t i = 0; i < files; ++i) {
        tar_entry e = member("usr/share/d" + std::to_string(i / 50) + "/a-name-that-is-not-short-" + std::to_string(i));
        e.mtime.seconds = static_cast<std::int64_t>(i);  // the larger form of inodes
        e.attributes = {{"security.selinux", "system_u:object_r:usr_t:s0"}};
        e.size = 0;
        text += e.path.size() - e.path.rfind('/');
        ASSERT_TRUE(t.add(std::move(e)));
    }
    ASSERT_TRUE(t.finish());
    const auto index = erofs::write_index(t, 512);
    ASSERT_TRUE(index);
    EXPECT_LE(memory_in_use() - before, files * 400 + text);
}

}  // namespace
}  // namespace nerofs::layer
