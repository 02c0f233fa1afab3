#include "nbd/request.h"

#include <gtest/gtest.h>

#include <array>
#include <cstring>

namespace nerofs::nbd {
namespace {

constexpr std::uint64_t cookie = 0x1122334455667788;
constexpr export_limits limits{.size = 1u << 20};

constexpr verdict read_ok{action::answer_read, error_value::none, 0};
constexpr verdict einval{action::answer_error, error_value::einval, 0};
constexpr verdict eperm{action::answer_error, error_value::eperm, 0};
constexpr verdict disconnect{action::disconnect, error_value::none, 0};
constexpr verdict drop{action::drop, error_value::none, 0};

verdict judge(cmd type, std::uint64_t offset, std::uint32_t length, std::uint16_t flags = 0,
              const export_limits& of = limits) {
    request header = make_request(type, cookie, offset, length);
    header.flags = flags;
    return classify(header, of);
}

TEST(request, header_lies_on_the_wire_as_the_protocol_says) {
    const std::array<unsigned char, 28> wire = {
        0x25, 0x60, 0x95, 0x13,                          // magic
        0x00, 0x01,                                      // flags: FUA
        0x00, 0x06,                                      // type: WRITE_ZEROES
        0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff, 0x11, 0x22,  // cookie
        0x00, 0x00, 0x00, 0x01, 0x02, 0x03, 0x04, 0x00,  // offset
        0x00, 0x01, 0x00, 0x00,                          // length
    };
    request header;
    std::memcpy(&header, wire.data(), sizeof header);
    EXPECT_EQ(header.magic, 0x25609513u);
    EXPECT_EQ(header.flags, 1u);
    EXPECT_EQ(header.type, 6u);
    EXPECT_EQ(header.offset, 0x102030400u);
    EXPECT_EQ(header.length, 65536u);

    request made = make_request(cmd::write_zeroes, header.cookie, 0x102030400, 65536);
    made.flags = cmd_flag_fua;
    EXPECT_EQ(std::memcmp(&made, wire.data(), wire.size()), 0);
}

TEST(request, reply_gives_the_cookie_back_byte_for_byte) {
    const std::array<unsigned char, 8> sent = {0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff, 0x11, 0x22};
    wire_cookie name;
    std::memcpy(&name, sent.data(), sizeof name);
    const simple_reply reply = make_simple_reply(name, error_value::eperm);
    const std::array<unsigned char, 16> wire = {0x67, 0x44, 0x66, 0x98, 0x00, 0x00, 0x00, 0x01,
                                                0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff, 0x11, 0x22};
    EXPECT_EQ(std::memcmp(&reply, wire.data(), wire.size()), 0);
}

TEST(request, reads_inside_the_export_are_answered) {
    EXPECT_EQ(judge(cmd::read, 0, 4096), read_ok);
    EXPECT_EQ(judge(cmd::read, 1, 1), read_ok);
    EXPECT_EQ(judge(cmd::read, 0, 1u << 20), read_ok);
    EXPECT_EQ(judge(cmd::read, (1u << 20) - 1, 1), read_ok);
}

TEST(request, reads_of_nothing_inside_the_export_succeed) {
    EXPECT_EQ(judge(cmd::read, 0, 0), read_ok);
    EXPECT_EQ(judge(cmd::read, 1u << 20, 0), read_ok);
    EXPECT_EQ(judge(cmd::read, (1u << 20) + 1, 0), einval);
    EXPECT_EQ(judge(cmd::read, 0, 0, 0, export_limits{}), read_ok);
    EXPECT_EQ(judge(cmd::read, 0, 1, 0, export_limits{}), einval);
}

TEST(request, reads_beyond_the_end_are_einval_also_where_the_sum_wraps) {
    EXPECT_EQ(judge(cmd::read, 0, (1u << 20) + 1), einval);
    EXPECT_EQ(judge(cmd::read, (1u << 20) - 1, 2), einval);
    EXPECT_EQ(judge(cmd::read, 1u << 20, 1), einval);
    EXPECT_EQ(judge(cmd::read, UINT64_MAX, 1), einval);
    EXPECT_EQ(judge(cmd::read, UINT64_MAX - 10, 4096), einval);
    EXPECT_EQ(judge(cmd::read, UINT64_MAX, UINT32_MAX), einval);
}

TEST(request, reads_longer_than_32_mib_are_einval) {
    const export_limits large{.size = UINT64_MAX};
    EXPECT_EQ(judge(cmd::read, 0, 33554432, 0, large), read_ok);
    EXPECT_EQ(judge(cmd::read, 0, 33554433, 0, large), einval);
    EXPECT_EQ(judge(cmd::read, 0, UINT32_MAX, 0, large), einval);
    const export_limits narrow{.size = UINT64_MAX, .max_length = 4096};
    EXPECT_EQ(judge(cmd::read, 0, 4096, 0, narrow), read_ok);
    EXPECT_EQ(judge(cmd::read, 0, 4097, 0, narrow), einval);
}

TEST(request, fua_on_a_read_is_ignored_and_each_other_flag_is_einval) {
    EXPECT_EQ(judge(cmd::read, 0, 4096, cmd_flag_fua), read_ok);
    for (unsigned bit = 1; bit < 16; ++bit) {
        EXPECT_EQ(judge(cmd::read, 0, 4096, static_cast<std::uint16_t>(1u << bit)), einval) << bit;
        EXPECT_EQ(judge(cmd::read, 0, 4096, static_cast<std::uint16_t>(1u << bit | cmd_flag_fua)), einval) << bit;
    }
}

TEST(request, a_write_is_eperm_and_its_payload_is_skipped) {
    EXPECT_EQ(judge(cmd::write, 0, 512), (verdict{action::answer_error, error_value::eperm, 512}));
    EXPECT_EQ(judge(cmd::write, 0, 0), eperm);
    // Out of range, with flags: still EPERM, and still in step with the stream.
    EXPECT_EQ(judge(cmd::write, UINT64_MAX, 512), (verdict{action::answer_error, error_value::eperm, 512}));
    EXPECT_EQ(judge(cmd::write, 0, 512, 0xffff), (verdict{action::answer_error, error_value::eperm, 512}));
}

TEST(request, a_write_with_more_payload_than_the_cap_drops_the_connection) {
    EXPECT_EQ(judge(cmd::write, 0, 33554432), (verdict{action::answer_error, error_value::eperm, 33554432}));
    EXPECT_EQ(judge(cmd::write, 0, 33554433), drop);
    EXPECT_EQ(judge(cmd::write, 0, UINT32_MAX), drop);
}

TEST(request, trim_and_write_zeroes_are_eperm_and_carry_no_payload) {
    EXPECT_EQ(judge(cmd::trim, 0, 4096), eperm);
    EXPECT_EQ(judge(cmd::trim, 0, UINT32_MAX), eperm);
    EXPECT_EQ(judge(cmd::write_zeroes, 0, 4096), eperm);
    EXPECT_EQ(judge(cmd::write_zeroes, UINT64_MAX, UINT32_MAX, cmd_flag_no_hole), eperm);
}

TEST(request, disc_is_a_disconnect_whatever_its_other_fields_say) {
    EXPECT_EQ(judge(cmd::disc, 0, 0), disconnect);
    EXPECT_EQ(judge(cmd::disc, 5, 7, 0xffff), disconnect);
}

TEST(request, every_other_type_is_einval_without_payload) {
    for (unsigned type = 0; type <= 0xffff; ++type) {
        const auto which = static_cast<cmd>(type);
        if (which == cmd::read || which == cmd::write || which == cmd::disc || which == cmd::trim ||
            which == cmd::write_zeroes)
            continue;
        ASSERT_EQ(judge(which, 0, 4096), einval) << type;
    }
}

TEST(request, a_wrong_magic_drops_the_connection_whatever_follows) {
    for (const cmd type : {cmd::read, cmd::write, cmd::disc, cmd::flush}) {
        request header = make_request(type, cookie, 0, 512);
        header.magic = 0x25609512u;
        EXPECT_EQ(classify(header, limits), drop);
        header.magic = 0x13956025u;  // the right number in the wrong byte order
        EXPECT_EQ(classify(header, limits), drop);
    }
}

}  // namespace
}  // namespace nerofs::nbd
