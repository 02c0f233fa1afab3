#include "ctl/messages.h"

#include <gtest/gtest.h>

namespace nerofs::ctl {
namespace {

using namespace std::chrono_literals;

TEST(messages, an_attach_request_comes_back_field_by_field) {
    attach_request r;
    r.source = "rel.erofs";
    r.path = "/abs/rel.erofs";
    r.target = "/mnt";
    r.fs_offset = 1ull << 40;
    r.extra_devices = true;
    r.nbd = {attach_method::ioctl, 7, 11s, 13s};
    const os::packet packet = encode(r);
    wire_reader body = body_of(packet);
    const auto back = decode_attach(body);
    ASSERT_TRUE(back);
    EXPECT_EQ(back->source, r.source);
    EXPECT_EQ(back->path, r.path);
    EXPECT_EQ(back->fs_offset, r.fs_offset);
    EXPECT_TRUE(back->extra_devices);
    EXPECT_EQ(back->nbd.method, attach_method::ioctl);
    EXPECT_EQ(back->nbd.connections, 7u);
    EXPECT_EQ(back->nbd.timeout, 11s);
    EXPECT_EQ(back->nbd.dead_timeout, 13s);
    wire_reader cut(std::span(packet.bytes).first(packet.bytes.size() - 1));
    cut.get<message>();
    EXPECT_EQ(decode_attach(cut).error().kind, error_kind::corrupt);
}

TEST(messages, an_error_crosses_a_channel_with_its_whole_story) {
    auto ends = os::channel::make_pair();
    ASSERT_TRUE(ends);
    ASSERT_TRUE(send_failed(ends->first, make_error(error_kind::corrupt, "it is broken", 74).with_hint("mend it")));
    const auto got = receive_answer(ends->second, message::done, os::in_time(5s));
    ASSERT_FALSE(got);
    EXPECT_EQ(got.error().kind, error_kind::corrupt);
    EXPECT_EQ(got.error().code, 74);
    EXPECT_EQ(got.error().message(), "it is broken; mend it");
}

TEST(messages, another_answer_than_the_awaited_one_is_refused) {
    auto ends = os::channel::make_pair();
    ASSERT_TRUE(ends);
    ASSERT_TRUE(send_settled(ends->first, settled::ending));
    EXPECT_EQ(receive_answer(ends->second, message::done, os::in_time(5s)).error().kind, error_kind::corrupt);
    ASSERT_TRUE(send_settled(ends->first, settled::ending));
    const auto packet = receive_answer(ends->second, message::settle_answer, os::in_time(5s));
    ASSERT_TRUE(packet);
    EXPECT_EQ(body_of(*packet).get<settled>(), settled::ending);
}

TEST(messages, a_status_comes_back) {
    mount_status s;
    s.id = "x";
    s.keeper_pid = 12;
    s.takeovers = 5;
    s.attached_at = -1;
    const os::packet packet = encode(s);
    wire_reader body = body_of(packet);
    const auto back = decode_status(body);
    ASSERT_TRUE(back);
    EXPECT_EQ(back->keeper_pid, 12);
    EXPECT_EQ(back->takeovers, 5u);
    EXPECT_EQ(back->attached_at, -1);
}

}  // namespace
}  // namespace nerofs::ctl
