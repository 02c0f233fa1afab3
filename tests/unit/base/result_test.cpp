#include "base/result.h"

#include <gtest/gtest.h>

#include <cerrno>

#include "base/checked.h"
#include "base/endian.h"

namespace nerofs {
namespace {

TEST(result, context_is_added_in_front_and_the_hint_behind) {
    error e = errno_error(ENOENT, "open 'x.erofs'");
    EXPECT_EQ(e.kind, error_kind::not_found);
    EXPECT_EQ(e.code, ENOENT);
    e = std::move(e).in("cannot mount").with_hint("is it there?");
    EXPECT_EQ(e.message(), "cannot mount: open 'x.erofs': No such file or directory; is it there?");
}

TEST(result, try_hands_an_error_up_unchanged) {
    const auto inner = []() -> result<int> { return fail(error_kind::corrupt, "bad"); };
    const auto outer = [&]() -> result<std::string> {
        NEROFS_TRY(const int x, inner());
        return std::to_string(x);
    };
    const auto r = outer();
    ASSERT_FALSE(r);
    EXPECT_EQ(r.error().kind, error_kind::corrupt);
    EXPECT_EQ(r.error().text, "bad");
}

TEST(result, an_errno_is_found_for_each_kind) {
    EXPECT_EQ(to_errno(make_error(error_kind::corrupt, "x")), EIO);
    EXPECT_EQ(to_errno(make_error(error_kind::usage, "x")), EINVAL);
    EXPECT_EQ(to_errno(errno_error(EFBIG, "x")), EFBIG);
}

TEST(checked, overflow_is_not_a_number) {
    EXPECT_EQ(checked_add<std::uint32_t>(0xffffffff, 1), std::nullopt);
    EXPECT_EQ(checked_mul<std::uint64_t>(1ull << 33, 1ull << 31), std::nullopt);
    EXPECT_EQ(checked_add<std::uint32_t>(1, 2), 3u);
    EXPECT_TRUE(range_within<std::uint64_t>(10, 0, 10));
    EXPECT_FALSE(range_within<std::uint64_t>(10, 1, 10));
    EXPECT_FALSE(range_within<std::uint64_t>(1, ~0ull, 10));
}

TEST(endian, bytes_lie_in_the_named_order_at_any_address) {
    const unsigned char bytes[] = {0, 0x12, 0x34, 0x56, 0x78};
    be32 big;
    std::memcpy(&big, bytes + 1, 4);
    EXPECT_EQ(big.get(), 0x12345678u);
    le32 little;
    std::memcpy(&little, bytes + 1, 4);
    EXPECT_EQ(little.get(), 0x78563412u);
    le16 two = 0x0102;
    unsigned char out[2];
    std::memcpy(out, &two, 2);
    EXPECT_EQ(out[0], 2);
}

}  // namespace
}  // namespace nerofs
