#include "os/netlink/genetlink.h"

#include <gtest/gtest.h>

namespace nerofs::os {
namespace {

std::string hex(std::span<const std::byte> bytes) {
    std::string text;
    for (const std::byte b : bytes) {
        char two[3];
        std::snprintf(two, sizeof two, "%02x", std::to_integer<unsigned>(b));
        text += two;
    }
    return text;
}

// struct nlattr (netlink(7)): length with its header, type, value, padding to 4; by hand, little endian.
TEST(attributes, lie_on_the_wire_as_netlink_has_them) {
    attributes inner;
    inner.put_u32(1, 7);
    attributes item;
    item.put_nested(1, inner);
    attributes all;
    all.put_u64(2, 0x0102030405060708).put_text(10, "/run").put_nested(7, item);
    EXPECT_EQ(hex(all.bytes()),
              "0c00"
              "0200"
              "0807060504030201"
              "0900"
              "0a00"
              "2f72756e00000000"
              "1000"
              "0780"
              "0c00"
              "0180"
              "0800"
              "0100"
              "07000000");
}

TEST(attributes, are_parsed_back_and_a_cut_one_ends_the_list) {
    attributes all;
    all.put_u32(1, 0xfffffffe).put_u64(2, 5).put_text(3, "x");
    const auto whole = parse_attributes(all.bytes());
    ASSERT_EQ(whole.size(), 3u);
    EXPECT_EQ(whole[0].number(), 0xfffffffeu);
    EXPECT_EQ(whole[1].type, 2);
    EXPECT_EQ(whole[1].number(), 5u);
    EXPECT_EQ(whole[2].value.size(), 2u);
    EXPECT_EQ(parse_attributes(all.bytes().first(19)).size(), 1u);
    const std::byte hostile[] = {std::byte{2}, std::byte{0}, std::byte{1}, std::byte{0}};  // shorter than its header
    EXPECT_TRUE(parse_attributes(hostile).empty());
}

TEST(genetlink, a_family_of_the_kernel_resolves_and_an_unknown_one_is_not_found) {
    auto control = genetlink::open("nlctrl");
    if (!control && control.error().kind == error_kind::permission) GTEST_SKIP() << control.error().text;
    ASSERT_TRUE(control) << control.error().text;
    EXPECT_EQ(control->family_id(), 16);  // GENL_ID_CTRL, <linux/genetlink.h>
    const auto none = genetlink::open("no-such-family");
    ASSERT_FALSE(none);
    EXPECT_EQ(none.error().kind, error_kind::not_found);
    EXPECT_EQ(none.error().text, "netlink family 'no-such-family': netlink: No such file or directory");
}

}  // namespace
}  // namespace nerofs::os
