// What a link that carries a known number of bytes a second is taken for.
#include "cache/link_model.h"

#include <gtest/gtest.h>

#include <deque>

namespace nerofs::cache {
namespace {

using namespace std::chrono_literals;

constexpr double rate = 12.5e6;
constexpr auto latency = 10ms;

std::chrono::nanoseconds time_of(std::uint64_t bytes) {
    return std::chrono::nanoseconds(static_cast<std::int64_t>(static_cast<double>(bytes) / rate * 1e9));
}

// Each body comes in one piece, when its last byte has passed the link, as a socket's buffer gives it.
TEST(link_model, small_bodies_side_by_side_are_not_taken_for_a_faster_link) {
    link_model link;
    constexpr std::uint64_t bytes = 64 * 1024;
    plan_time now{1000s};
    std::deque<link_model::request> under_way;
    for (int i = 0; i < 6; ++i) under_way.push_back(link.sent(i == 0, now));
    now += latency;
    for (int i = 0; i < 200; ++i) {
        now += time_of(bytes);
        link_model::request r = under_way.front();
        under_way.pop_front();
        link.arrived(r, bytes, now);
        link.finished(r, bytes, now);
        under_way.push_back(link.sent(false, now));
        EXPECT_LE(link.bytes_per_second(), i < 20 ? 2 * 25e6 : 1.1 * rate) << i;
    }
    EXPECT_GE(link.bytes_per_second(), 0.7 * rate);
}

TEST(link_model, a_small_body_alone_is_measured_without_the_latency) {
    link_model link;
    plan_time now{1000s};
    for (int i = 0; i < 100; ++i) {
        // The first one is small, so that it tells the latency.
        const std::uint64_t bytes = i == 0 ? 100 : 128 * 1024;
        link_model::request r = link.sent(true, now);
        now += latency + time_of(bytes);
        link.arrived(r, bytes, now);
        link.finished(r, bytes, now);
    }
    EXPECT_GE(link.bytes_per_second(), 0.9 * rate);
    EXPECT_LE(link.bytes_per_second(), 1.1 * rate);
}

// Who reads late finds what came meanwhile at once.
TEST(link_model, what_lay_in_a_buffer_first_does_not_count) {
    link_model link;
    plan_time now{1000s};
    constexpr std::uint64_t bytes = 1 << 20;
    constexpr std::uint64_t in_buffer = 128 * 1024;
    link_model::request r = link.sent(true, now);
    now += latency + time_of(in_buffer);
    link.arrived(r, in_buffer, now);
    now += time_of(bytes - in_buffer);
    link.arrived(r, bytes - in_buffer, now);
    link.finished(r, bytes, now);
    EXPECT_NEAR(link.bytes_per_second(), rate, 0.01 * rate);
    EXPECT_TRUE(link.bandwidth_known());
}

TEST(link_model, an_answer_without_a_body_says_nothing_of_the_bandwidth) {
    link_model link;
    const plan_time now{1000s};
    link.finished(link.sent(true, now), 0, now + 1s);
    EXPECT_FALSE(link.bandwidth_known());
}

}  // namespace
}  // namespace nerofs::cache
