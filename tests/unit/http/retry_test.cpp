#include "http/retry.h"

#include <gtest/gtest.h>

namespace nerofs::http {
namespace {

using namespace std::chrono_literals;

constexpr retry_policy policy{100ms, 10s, 120s};

TEST(retry, doubles_up_to_the_most) {
    EXPECT_EQ(retry_delay(policy, 0, {}, 0), 50ms);
    EXPECT_EQ(retry_delay(policy, 1, {}, 0), 100ms);
    EXPECT_EQ(retry_delay(policy, 6, {}, 0), 3200ms);
    EXPECT_EQ(retry_delay(policy, 7, {}, 0), 5s);
    EXPECT_EQ(retry_delay(policy, 8, {}, 0), 5s);
    EXPECT_EQ(retry_delay(policy, 4'000'000'000u, {}, 0), 5s);
}

TEST(retry, chance_spreads_over_the_upper_half) {
    EXPECT_EQ(retry_delay(policy, 3, {}, 0.5), 600ms);
    EXPECT_EQ(retry_delay(policy, 3, {}, 0.999), 799ms);
    EXPECT_EQ(retry_delay(policy, 3, {}, 7), 800ms);
    EXPECT_EQ(retry_delay(policy, 3, {}, -7), 400ms);
}

TEST(retry, retry_after_is_a_floor) {
    EXPECT_EQ(retry_delay(policy, 0, 3s, 0), 3s);
    EXPECT_EQ(retry_delay(policy, 0, 3s, 0.5), 3025ms);
    EXPECT_EQ(retry_delay(policy, 20, 3s, 0), 5s);
    EXPECT_EQ(retry_delay(policy, 0, 0s, 0), 50ms);
    EXPECT_EQ(retry_delay(policy, 0, -5s, 0), 50ms);
}

TEST(retry, retry_after_is_capped) {
    EXPECT_EQ(retry_delay(policy, 0, 1h, 0), 120s);
}

TEST(retry, a_first_wait_above_the_most_is_cut) {
    EXPECT_EQ(retry_delay({20s, 1s, 1s}, 0, {}, 0), 500ms);
}

}  // namespace
}  // namespace nerofs::http
