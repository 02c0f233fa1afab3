#include "nbd/handshake.h"

#include <gtest/gtest.h>

#include <string>

namespace nerofs::nbd {
namespace {

using bytes = std::vector<std::byte>;

// "4e 42" -> two bytes; 'text' between single quotes stands for itself.
bytes wire(std::string_view notation) {
    bytes out;
    const auto nibble = [](char c) { return c <= '9' ? c - '0' : c - 'a' + 10; };
    for (std::size_t at = 0; at < notation.size();) {
        if (notation[at] == ' ') {
            ++at;
        } else if (notation[at] == '\'') {
            for (++at; notation[at] != '\''; ++at) out.push_back(static_cast<std::byte>(notation[at]));
            ++at;
        } else {
            out.push_back(static_cast<std::byte>(nibble(notation[at]) * 16 + nibble(notation[at + 1])));
            at += 2;
        }
    }
    return out;
}

bytes operator+(bytes a, const bytes& b) {
    a.insert(a.end(), b.begin(), b.end());
    return a;
}

bytes filler(std::size_t count) {
    return bytes(count, std::byte{0x5a});
}

struct talk {
    bytes answers = {};
    handshake_state state = handshake_state::more;
    close_reason reason = close_reason::none;
    handshake_session session = {};
    std::size_t unused = 0;  // bytes left over at the end
};

// Feeds the input in pieces of `piece` bytes.
talk converse_in_pieces(const export_info& exported, const bytes& input, std::size_t piece) {
    handshake machine(exported);
    talk out;
    for (std::size_t start = 0; start < input.size() && out.state == handshake_state::more; start += piece) {
        std::span<const std::byte> in = std::span(input).subspan(start);
        if (in.size() > piece) in = in.first(piece);
        while (!in.empty() && out.state == handshake_state::more) {
            const handshake_step step = machine.next(in);
            if (step.state == handshake_state::more && step.consumed == 0) {
                ADD_FAILURE() << "no progress";
                return out;
            }
            EXPECT_LE(step.consumed, in.size());
            EXPECT_LE(step.send.size(), max_answer_bytes);
            in = in.subspan(step.consumed);
            out.answers.insert(out.answers.end(), step.send.begin(), step.send.end());
            out.state = step.state;
            out.unused = input.size() - static_cast<std::size_t>(in.data() - input.data());
        }
    }
    out.reason = machine.reason();
    out.session = machine.session();
    return out;
}

// The whole input at once; and the same answer whichever way it is cut.
talk converse(const export_info& exported, const bytes& input) {
    const talk whole = converse_in_pieces(exported, input, input.size());
    for (const std::size_t piece : {1u, 2u, 3u, 5u, 16u, 17u}) {
        const talk cut = converse_in_pieces(exported, input, piece);
        EXPECT_EQ(cut.answers, whole.answers) << "in pieces of " << piece;
        EXPECT_EQ(cut.state, whole.state) << "in pieces of " << piece;
        EXPECT_EQ(cut.reason, whole.reason) << "in pieces of " << piece;
        EXPECT_EQ(cut.unused, whole.unused) << "in pieces of " << piece;
        EXPECT_EQ(cut.session.export_name, whole.session.export_name) << "in pieces of " << piece;
    }
    return whole;
}

const export_info disk{.size = 0x123456000, .name = "disk", .description = "an image", .preferred_block_bytes = 512};

const bytes fixed_no_zeroes = wire("00000003");
const bytes fixed = wire("00000001");

bytes option(std::string_view number, const bytes& data) {
    const std::size_t length = data.size();
    bytes header = wire("'IHAVEOPT'") + wire(number);
    for (int shift = 24; shift >= 0; shift -= 8) header.push_back(static_cast<std::byte>(length >> shift & 0xff));
    return header + data;
}

bytes answer(std::string_view rest) {
    return wire("0003e889045565a9") + wire(rest);
}

// GO's and INFO's answer to a request without information requests, and their ack.
const std::string_view info_export_of_disk = "00000003 0000000c 0000 0000000123456000 0103";
bytes told(std::string_view number) {
    return answer(std::string(number) + std::string(info_export_of_disk));
}
bytes acked(std::string_view number) {
    return answer(std::string(number) + "00000001 00000000");
}

const std::string_view export_name = "00000001";
const std::string_view abort_ = "00000002";
const std::string_view list = "00000003";
const std::string_view starttls = "00000005";
const std::string_view info_ = "00000006";
const std::string_view go = "00000007";

void expect_closed(const talk& heard, close_reason why) {
    EXPECT_EQ(heard.state, handshake_state::closed);
    EXPECT_EQ(heard.reason, why);
    EXPECT_FALSE(to_string(heard.reason).empty());
}

TEST(handshake, greets_with_both_magics_fixed_newstyle_and_no_zeroes) {
    const auto said = handshake::greeting();
    EXPECT_EQ(bytes(said.begin(), said.end()), wire("4e42444d41474943 49484156454f5054 0003"));
}

TEST(handshake, go_to_the_default_export) {
    const talk heard = converse(disk, fixed_no_zeroes + option(go, wire("00000000 0000")));
    EXPECT_EQ(heard.answers, told(go) + acked(go));
    EXPECT_EQ(heard.state, handshake_state::transmission);
    EXPECT_EQ(heard.session.export_name, "");
    EXPECT_TRUE(heard.session.no_zeroes);
    EXPECT_TRUE(heard.session.fixed_newstyle);
    EXPECT_EQ(heard.unused, 0u);
}

TEST(handshake, go_by_name_with_all_information_asked_for) {
    const talk heard = converse(disk, fixed_no_zeroes + option(go, wire("00000004 'disk' 0004 0000 0001 0002 0003")));
    EXPECT_EQ(heard.answers, told(go) + answer("00000007 00000003 00000006 0001 'disk'") +
                                 answer("00000007 00000003 0000000a 0002 'an image'") +
                                 answer("00000007 00000003 0000000e 0003 00000001 00000200 02000000") + acked(go));
    EXPECT_EQ(heard.state, handshake_state::transmission);
    EXPECT_EQ(heard.session.export_name, "disk");
}

TEST(handshake, what_follows_go_is_left_for_the_transmission_phase) {
    const talk heard = converse(disk, fixed_no_zeroes + option(go, wire("00000000 0000")) + wire("25609513 0000"));
    EXPECT_EQ(heard.state, handshake_state::transmission);
    EXPECT_EQ(heard.unused, 6u);
}

TEST(handshake, info_tells_the_same_as_go_and_goes_on) {
    const talk heard = converse(
        disk, fixed_no_zeroes + option(info_, wire("00000000 0001 0003")) + option(go, wire("00000004 'disk' 0000")));
    EXPECT_EQ(heard.answers, told(info_) + answer("00000006 00000003 0000000e 0003 00000001 00000200 02000000") +
                                 acked(info_) + told(go) + acked(go));
    EXPECT_EQ(heard.state, handshake_state::transmission);
}

TEST(handshake, an_information_request_made_often_or_unknown_is_answered_once_or_not_at_all) {
    const talk heard =
        converse(disk, fixed_no_zeroes + option(info_, wire("00000000 0006 0001 0001 0001 ffff 0009 0001")));
    EXPECT_EQ(heard.answers, told(info_) + answer("00000006 00000003 00000006 0001 'disk'") + acked(info_));
    EXPECT_EQ(heard.state, handshake_state::more);
}

TEST(handshake, an_export_without_name_or_description) {
    const export_info plain{.size = 0x123456000};
    const talk heard = converse(plain, fixed_no_zeroes + option(go, wire("00000000 0003 0001 0002 0003")));
    EXPECT_EQ(heard.answers, told(go) + answer("00000007 00000003 00000002 0001") +
                                 answer("00000007 00000003 0000000e 0003 00000001 00001000 02000000") + acked(go));
}

// The three refusals that carry a message.
bytes unknown(std::string_view number) {
    return answer(std::string(number) + "80000006 00000026 'this server has no export of that name'");
}
bytes invalid(std::string_view number) {
    return answer(std::string(number) + "80000003 0000002a 'the data of the option breaks the protocol'");
}
bytes too_big(std::string_view number) {
    return answer(std::string(number) + "80000009 00000022 'the data of the option is too long'");
}
bytes unsupported(std::string_view number) {
    return answer(std::string(number) + "80000001 00000000");
}

TEST(handshake, an_unknown_export_is_err_unknown_and_the_client_may_try_again) {
    const talk heard =
        converse(disk, fixed_no_zeroes + option(go, wire("00000003 'dis' 0000")) +
                           option(info_, wire("00000005 'disk' 00 0000")) + option(go, wire("00000004 'disk' 0000")));
    EXPECT_EQ(heard.answers, unknown(go) + unknown(info_) + told(go) + acked(go));
    EXPECT_EQ(heard.state, handshake_state::transmission);
}

TEST(handshake, malformed_go_is_err_invalid_and_the_stream_stays_in_step) {
    for (const std::string_view data : {
             "",                       // nothing
             "000000",                 // no room for the length of the name
             "00000000",               // no count
             "00000000 00",            // half a count
             "00000000 0001",          // a count of requests that aren't there
             "00000000 0001 0003 00",  // too much
             "00000000 0000 0003",     // requests beyond the count
             "00000005 'disk' 0000",   // a name that runs into the count
             "ffffffff 'disk' 0000",   // a name longer than everything
             "00000000 ffff 0003",     // a count whose bytes don't fit in 16 bits
         }) {
        const talk heard = converse(disk, fixed_no_zeroes + option(go, wire(data)) + option(abort_, {}));
        EXPECT_EQ(heard.answers, invalid(go) + acked(abort_)) << data;
    }
}

TEST(handshake, names_of_4096_bytes_are_names_and_longer_ones_invalid) {
    const export_info long_name{.size = 0x123456000, .name = std::string(4096, 'Z'), .description = {}};
    const bytes name = filler(4096);  // of 'Z', too
    EXPECT_EQ(converse(long_name, fixed + option(go, wire("00001000") + name + wire("0001 0001"))).answers,
              told(go) + answer("00000007 00000003 00001002 0001") + name + acked(go));
    EXPECT_EQ(converse(disk, fixed + option(go, wire("00001000") + name + wire("0000"))).answers, unknown(go));
    EXPECT_EQ(converse(disk, fixed + option(go, wire("00001001") + filler(4097) + wire("0000"))).answers, invalid(go));
}

TEST(handshake, the_largest_answer_is_as_large_as_its_constant_says) {
    const std::string text(4096, 'Z');
    const export_info largest{.size = 1, .name = text, .description = text + "cut"};
    const talk heard = converse(largest, fixed + option(go, wire("00000000 0003 0001 0002 0003")));
    EXPECT_EQ(heard.answers.size(), max_answer_bytes);
}

TEST(handshake, list_names_the_export) {
    const talk heard = converse(disk, fixed_no_zeroes + option(list, {}));
    EXPECT_EQ(heard.answers, answer("00000003 00000002 00000008 00000004 'disk'") + acked(list));
    EXPECT_EQ(heard.state, handshake_state::more);
    EXPECT_EQ(converse(export_info{.size = 1}, fixed + option(list, {})).answers,
              answer("00000003 00000002 00000004 00000000") + acked(list));
}

TEST(handshake, list_with_data_is_err_invalid) {
    EXPECT_EQ(converse(disk, fixed + option(list, wire("'x'")) + option(list, {})).answers,
              invalid(list) + answer("00000003 00000002 00000008 00000004 'disk'") + acked(list));
}

TEST(handshake, export_name_by_name_and_by_default) {
    for (const std::string_view name : {"", "'disk'"}) {
        const talk heard = converse(disk, fixed_no_zeroes + option(export_name, wire(name)) + wire("25"));
        EXPECT_EQ(heard.answers, wire("0000000123456000 0103"));
        EXPECT_EQ(heard.state, handshake_state::transmission);
        EXPECT_EQ(heard.unused, 1u);
    }
}

TEST(handshake, export_name_is_followed_by_124_zeroes_unless_both_agree_not_to) {
    for (const std::string_view flags : {"00000001", "00000000"}) {
        const talk heard = converse(disk, wire(flags) + option(export_name, {}));
        EXPECT_EQ(heard.answers, wire("0000000123456000 0103") + bytes(124));
        EXPECT_EQ(heard.state, handshake_state::transmission);
        EXPECT_FALSE(heard.session.no_zeroes);
    }
}

TEST(handshake, export_name_of_an_unknown_export_closes_without_a_word) {
    const talk heard = converse(disk, fixed_no_zeroes + option(export_name, wire("'else'")));
    EXPECT_EQ(heard.answers, bytes{});
    expect_closed(heard, close_reason::unknown_export);
    expect_closed(converse(disk, fixed + option(export_name, filler(4096))), close_reason::unknown_export);
    expect_closed(converse(disk, fixed + option(export_name, filler(4097))), close_reason::option_too_big);
}

TEST(handshake, abort_is_acknowledged_and_closes_whatever_it_carries) {
    for (const std::size_t extra : {0u, 9u}) {
        const talk heard = converse(disk, fixed_no_zeroes + option(abort_, filler(extra)) + wire("00"));
        EXPECT_EQ(heard.answers, acked(abort_));
        expect_closed(heard, close_reason::aborted);
        EXPECT_EQ(heard.unused, 1u);
    }
}

TEST(handshake, options_we_do_not_offer_are_err_unsup_with_or_without_data) {
    for (const std::string_view number :
         {starttls, std::string_view("00000008"), std::string_view("00000004"), std::string_view("00000009"),
          std::string_view("0000000a"), std::string_view("0000000b"), std::string_view("00000000"),
          std::string_view("ffffffff"), std::string_view("80000007")}) {
        const talk heard = converse(disk, fixed_no_zeroes + option(number, {}) + option(number, filler(33)) +
                                              option(go, wire("00000000 0000")));
        EXPECT_EQ(heard.answers, unsupported(number) + unsupported(number) + told(go) + acked(go)) << number;
        EXPECT_EQ(heard.state, handshake_state::transmission) << number;
    }
}

TEST(handshake, too_long_data_is_skipped_and_told) {
    EXPECT_EQ(converse(disk, fixed + option(go, filler(65536)) + option(abort_, {})).answers,
              invalid(go) + acked(abort_));
    EXPECT_EQ(converse(disk, fixed + option(go, filler(65537)) + option(abort_, {})).answers,
              too_big(go) + acked(abort_));
    EXPECT_EQ(converse(disk, fixed + option(info_, filler(1048576)) + option(abort_, {})).answers,
              too_big(info_) + acked(abort_));
    EXPECT_EQ(converse(disk, fixed + option(starttls, filler(1048576)) + option(abort_, {})).answers,
              unsupported(starttls) + acked(abort_));
}

TEST(handshake, an_announcement_of_more_data_than_is_ever_skipped_closes_at_once) {
    for (const std::string_view number : {go, info_, list, starttls, abort_, export_name}) {
        const talk heard = converse(disk, fixed + wire("'IHAVEOPT'") + wire(number) + wire("00100001"));
        EXPECT_EQ(heard.answers, bytes{});
        expect_closed(heard, close_reason::option_too_big);
        expect_closed(converse(disk, fixed + wire("'IHAVEOPT'") + wire(number) + wire("ffffffff")),
                      close_reason::option_too_big);
    }
}

TEST(handshake, the_33rd_option_closes) {
    bytes input = fixed;
    bytes expected;
    for (int i = 0; i < 32; ++i) {
        input = input + option(list, {});
        expected = expected + answer("00000003 00000002 00000008 00000004 'disk'") + acked(list);
    }
    EXPECT_EQ(converse(disk, input).state, handshake_state::more);
    const talk heard = converse(disk, input + option(list, {}));
    EXPECT_EQ(heard.answers, expected);
    expect_closed(heard, close_reason::too_many_options);
}

TEST(handshake, client_flags_that_were_not_offered_close) {
    for (unsigned bit = 2; bit < 32; ++bit) {
        bytes flags = wire("00000003");
        flags[3 - bit / 8] |= static_cast<std::byte>(1u << bit % 8);
        const talk heard = converse(disk, flags + option(list, {}));
        EXPECT_EQ(heard.answers, bytes{}) << bit;
        expect_closed(heard, close_reason::bad_client_flags);
    }
}

TEST(handshake, a_client_without_fixed_newstyle_may_only_name_its_export) {
    for (const std::string_view number : {go, info_, list, abort_, starttls}) {
        const talk heard = converse(disk, wire("00000002") + option(number, {}));
        EXPECT_EQ(heard.answers, bytes{});
        expect_closed(heard, close_reason::not_fixed);
    }
    EXPECT_EQ(converse(disk, wire("00000002") + option(export_name, {})).state, handshake_state::transmission);
}

TEST(handshake, anything_but_an_option_closes) {
    expect_closed(converse(disk, fixed + wire("'GET / HTTP/1.1' 0d0a0d0a")), close_reason::bad_magic);
    expect_closed(converse(disk, fixed + wire("25609513 0000 0000 0000000000000000 0000")), close_reason::bad_magic);
}

TEST(handshake, too_few_bytes_are_no_answer_yet) {
    const bytes input = fixed + option(go, wire("00000004 'disk' 0000"));
    for (std::size_t cut = 0; cut < input.size(); ++cut) {
        const talk heard = converse(disk, bytes(input.begin(), input.begin() + static_cast<std::ptrdiff_t>(cut)));
        EXPECT_EQ(heard.answers, bytes{}) << cut;
        EXPECT_EQ(heard.state, handshake_state::more) << cut;
    }
}

TEST(handshake, after_its_end_it_takes_and_says_nothing) {
    for (const bytes& end : {option(go, wire("00000000 0000")), option(abort_, {})}) {
        handshake machine(disk);
        const bytes input = fixed + end;
        std::span<const std::byte> in(input);
        handshake_step step = machine.next(in);
        step = machine.next(in.subspan(step.consumed));
        const handshake_state state = step.state;
        EXPECT_NE(state, handshake_state::more);
        step = machine.next(in);
        EXPECT_EQ(step.consumed, 0u);
        EXPECT_EQ(step.send.size(), 0u);
        EXPECT_EQ(step.state, state);
    }
}

TEST(handshake, a_preferred_block_size_the_protocol_forbids_is_told_as_4096) {
    for (const std::uint32_t size : {0u, 1u, 256u, 513u, 12288u, 131072u}) {
        const export_info odd{.size = 0x123456000, .preferred_block_bytes = size};
        EXPECT_EQ(converse(odd, fixed + option(info_, wire("00000000 0001 0003"))).answers,
                  told(info_) + answer("00000006 00000003 0000000e 0003 00000001 00001000 02000000") + acked(info_))
            << size;
    }
}

}  // namespace
}  // namespace nerofs::nbd
