#include "os/mounts.h"

#include <gtest/gtest.h>

namespace nerofs::os {
namespace {

TEST(mountinfo, lines_of_proc_are_read_with_their_escapes_and_optional_fields) {
    const auto mounts = parse_mountinfo(
        "36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 shared:2 - ext3 /dev/root rw,errors=continue\n"
        "40 36 43:64 / /with\\040space\\011tab\\134 ro - erofs /dev/nbd2 ro,user_xattr\n");
    ASSERT_EQ(mounts.size(), 2u);
    EXPECT_EQ(mounts[0].id, 36);
    EXPECT_EQ(mounts[0].parent, 35);
    EXPECT_EQ(mounts[0].root, "/mnt1");
    EXPECT_EQ(mounts[0].type, "ext3");
    EXPECT_EQ(mounts[1].major, 43u);
    EXPECT_EQ(mounts[1].minor, 64u);
    EXPECT_EQ(mounts[1].mount_point, "/with space\ttab\\");
    EXPECT_EQ(mounts[1].options, "ro");
    EXPECT_EQ(mounts[1].type, "erofs");
    EXPECT_EQ(mounts[1].source, "/dev/nbd2");
    EXPECT_EQ(mounts[1].super_options, "ro,user_xattr");
}

TEST(mountinfo, lines_that_are_not_of_that_form_are_left_out) {
    EXPECT_TRUE(parse_mountinfo("").empty());
    EXPECT_TRUE(parse_mountinfo("\n\n").empty());
    EXPECT_TRUE(parse_mountinfo("36 35 98 / /mnt rw - ext3 x rw\n").empty());
    EXPECT_TRUE(parse_mountinfo("36 35 98:0 / /mnt rw shared:1\n").empty());
    EXPECT_EQ(parse_mountinfo("x\n36 35 98:0 / /mnt rw - ext3 x rw").size(), 1u);
}

TEST(mountinfo, this_namespace_has_a_root) {
    const auto mounts = read_mounts();
    ASSERT_TRUE(mounts);
    bool root = false;
    for (const mount_entry& m : *mounts) root = root || m.mount_point == "/";
    EXPECT_TRUE(root);
}

TEST(mounts, a_failing_mount_tells_the_real_errno) {
    EXPECT_NE(mount("/nonexistent", "/nonexistent", "erofs", 0, "").error().code, 0);
    EXPECT_FALSE(unmount("/nonexistent/dir", 0));
}

}  // namespace
}  // namespace nerofs::os
