#include "mount/local.h"

#include <gtest/gtest.h>

namespace nerofs::mount {
namespace {

// This machine's kernel is asked: it needs EROFS, loop devices and root.
TEST(local, a_kernel_says_which_blocks_it_takes) {
    const auto page = takes_blocks_of(4096);
    if (!page) GTEST_SKIP() << "the kernel can't be asked here";
    EXPECT_TRUE(*page);
    // Documentation/filesystems/erofs.rst: at least 512.
    EXPECT_EQ(takes_blocks_of(256), false);
}

}  // namespace
}  // namespace nerofs::mount
