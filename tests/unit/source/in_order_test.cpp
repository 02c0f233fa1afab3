#include "source/in_order.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <mutex>
#include <thread>
#include <vector>

namespace nerofs::source {
namespace {

using namespace std::chrono_literals;

std::byte byte_at(std::uint64_t offset) {
    return static_cast<std::byte>(offset * 7 + offset / 251);
}

// Answers each read on a thread of its own, in small pieces; late ones first when told so.
class slow_source final : public byte_source {
  public:
    ~slow_source() override {
        for (std::thread& t : threads_) t.join();
    }
    id read(read_request what, completion done) override {
        const std::lock_guard lock(mutex_);
        const id number = ++reads_;
        most_in_flight_ = std::max(most_in_flight_, ++in_flight_);
        threads_.emplace_back([this, number, what = std::move(what), done = std::move(done)] {
            std::this_thread::sleep_for(number % 2 == 1 ? 10ms : 0ms);
            read_result result;
            const std::uint64_t end = number == fails_at ? what.length / 2 : what.length;
            while (result.delivered < end && !cancelled(number)) {
                std::vector<std::byte> piece(std::min<std::uint64_t>(1000, end - result.delivered));
                for (std::size_t i = 0; i < piece.size(); ++i) piece[i] = byte_at(what.offset + result.delivered + i);
                if (!what.sink(what.offset + result.delivered, piece)) break;
                result.delivered += piece.size();
            }
            while (number == hangs_at && !cancelled(number)) std::this_thread::sleep_for(1ms);
            if (cancelled(number)) result.how = fail(error_kind::cancelled, "cancelled");
            if (number == fails_at) result.how = fail(error_kind::permanent, "on purpose");
            {
                const std::lock_guard inner(mutex_);
                --in_flight_;
            }
            done(std::move(result));
        });
        return number;
    }
    void cancel(id which) override {
        const std::lock_guard lock(mutex_);
        cancelled_.push_back(which);
    }

    id fails_at = 0;
    id hangs_at = 0;
    unsigned most_in_flight_ = 0;

  private:
    bool cancelled(id which) {
        const std::lock_guard lock(mutex_);
        return std::find(cancelled_.begin(), cancelled_.end(), which) != cancelled_.end();
    }
    std::mutex mutex_;
    std::vector<std::thread> threads_;
    std::vector<id> cancelled_;
    id reads_ = 0;
    unsigned in_flight_ = 0;
};

constexpr in_order_options small{.request_bytes = 5000, .requests = 3, .silence = 5s};

TEST(in_order, every_byte_once_and_in_order_with_some_requests_in_flight) {
    slow_source from;
    std::uint64_t at = 1234;
    ASSERT_TRUE(read_in_order(from, 1234, 52'345, small, [&](std::span<const std::byte> bytes) -> status {
        for (const std::byte b : bytes) EXPECT_EQ(b, byte_at(at++));
        return {};
    }));
    EXPECT_EQ(at, 52'345u);
    EXPECT_GT(from.most_in_flight_, 1u);
    EXPECT_LE(from.most_in_flight_, 3u);
    EXPECT_TRUE(read_in_order(from, 5, 5, small, [](auto) -> status { return fail(error_kind::usage, "never"); }));
}

TEST(in_order, a_failed_request_is_the_end) {
    slow_source from;
    from.fails_at = 3;
    std::uint64_t taken = 0;
    const status read = read_in_order(from, 0, 50'000, small, [&](std::span<const std::byte> bytes) -> status {
        taken += bytes.size();
        return {};
    });
    ASSERT_FALSE(read);
    EXPECT_EQ(read.error().text, "on purpose");
    EXPECT_EQ(taken, 12'500u) << "what came before it was handed on";
}

TEST(in_order, who_takes_them_may_end_it) {
    slow_source from;
    const status read =
        read_in_order(from, 0, 50'000, small, [](auto) -> status { return fail(error_kind::usage, "enough"); });
    ASSERT_FALSE(read);
    EXPECT_EQ(read.error().text, "enough");
}

TEST(in_order, silence_ends_it_and_nothing_is_under_way_any_more) {
    slow_source from;
    from.hangs_at = 2;
    in_order_options options = small;
    options.silence = 50ms;
    const status read = read_in_order(from, 0, 50'000, options, [](auto) -> status { return {}; });
    ASSERT_FALSE(read);
    EXPECT_EQ(read.error().kind, error_kind::timeout);
}

}  // namespace
}  // namespace nerofs::source
