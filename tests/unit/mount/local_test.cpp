#include "mount/local.h"

#include <gtest/gtest.h>
#include <sys/utsname.h>

#include <cstdio>

namespace nerofs::mount {
namespace {

// This machine's kernel is asked: it needs EROFS, loop devices and root. Older ones: tests/vm/suite.d/85-layers.sh.
TEST(local, a_kernel_from_6_4_on_says_that_it_takes_layers) {
    utsname kernel{};
    unsigned major = 0;
    unsigned minor = 0;
    ASSERT_EQ(::uname(&kernel), 0);
    ASSERT_EQ(std::sscanf(kernel.release, "%u.%u", &major, &minor), 2);
    const auto said = takes_layers();
    if (!said) GTEST_SKIP() << "the kernel can't be asked here";
    if (major > 6 || (major == 6 && minor >= 4)) {
        EXPECT_TRUE(*said);
    }
}

}  // namespace
}  // namespace nerofs::mount
