// One blob between those who wait for its bytes and a source that brings them, or doesn't.
#include "fetch/blob_fetcher.h"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <cstring>
#include <deque>
#include <thread>

#include "cache/private_store.h"
#include "os/files.h"

namespace nerofs::fetch {
namespace {

using namespace std::chrono_literals;

constexpr std::uint64_t chunk = cache::chunk_bytes;
constexpr std::uint64_t blob_size = 256 * chunk + 100;  // 8 MiB and a bit

std::byte byte_at(std::uint64_t offset) {
    return static_cast<std::byte>((offset * 2654435761u >> 13) | 1);
}

// Brings bytes when the test says so.
class fake_source final : public source::byte_source {
  public:
    struct job {
        id number = 0;
        source::read_request what;
        completion done;
        bool cancelled = false;
    };

    id read(source::read_request what, completion done) override {
        const std::lock_guard lock(mutex_);
        jobs_.push_back({++last_, std::move(what), std::move(done), false});
        asked_.push_back({jobs_.back().what.offset, jobs_.back().what.length});
        return last_;
    }
    void cancel(id which) override {
        const std::lock_guard lock(mutex_);
        for (job& j : jobs_)
            if (j.number == which) j.cancelled = true;
    }

    // Ends the oldest read, well or with an error after so many bytes. False when there is none.
    bool bring(std::uint64_t most = ~std::uint64_t{0}, status how = {}) {
        job j;
        {
            const std::lock_guard lock(mutex_);
            if (jobs_.empty()) return false;
            j = std::move(jobs_.front());
            jobs_.pop_front();
        }
        const std::uint64_t n = std::min(most, j.what.length);
        source::read_result result{std::move(how), 0, 1};
        if (j.cancelled) result.how = fail(error_kind::cancelled, "");
        std::vector<std::byte> bytes(n);
        for (std::uint64_t i = 0; i < n; ++i) bytes[i] = byte_at(j.what.offset + i);
        for (std::uint64_t at = 0; at < n && !j.cancelled; at += 5000) {
            const std::size_t length = std::min<std::uint64_t>(5000, n - at);
            if (const status taken = j.what.sink(j.what.offset + at, std::span(bytes).subspan(at, length)); !taken) {
                result.how = taken;
                break;
            }
            result.delivered += length;
        }
        j.done(result);
        return true;
    }
    void bring_all() {
        while (bring()) {
        }
    }
    std::size_t waiting() const {
        const std::lock_guard lock(mutex_);
        return jobs_.size();
    }
    // Each read that was asked for, {offset, length}.
    std::vector<std::pair<std::uint64_t, std::uint64_t>> asked() const {
        const std::lock_guard lock(mutex_);
        return asked_;
    }

  private:
    mutable std::mutex mutex_;
    std::deque<job> jobs_;
    std::vector<std::pair<std::uint64_t, std::uint64_t>> asked_;
    id last_ = 0;
};

struct blob {
    explicit blob(std::chrono::milliseconds timeout = 60s) {
        const auto key = cache::blob_key::from_digest("sha256:" + std::string(64, 'a'), blob_size);
        held = cache::open_private(*key, "").value();
        writer.emplace(cache::blob_writer::attach(held.for_writer().value(), blob_size).value());
        blob_fetcher_options options;
        options.timeout = timeout;
        fetcher = std::make_unique<blob_fetcher>(*writer, source, std::nullopt, std::move(options));
    }
    ~blob() {
        std::atomic<bool> gone{false};
        std::thread letting_go([&] {
            while (!gone) source.bring(0);
        });
        fetcher.reset();
        gone = true;
        letting_go.join();
    }

    void want(std::uint64_t offset, std::uint64_t length) {
        fetcher->want(offset, length, [this] { ++in_vain; });
    }
    bool is_right(std::uint64_t offset, std::uint64_t length) const {
        std::vector<std::byte> got(length);
        if (!os::pread_exact(held.data(), got, offset)) return false;
        for (std::uint64_t i = 0; i < length; ++i)
            if (got[i] != byte_at(offset + i)) return false;
        return true;
    }
    bool is_there(std::uint64_t offset, std::uint64_t length) const {
        return fetcher->map().lookup(offset, length) == cache::presence::there;
    }
    void tick_until(const std::function<bool()>& so) const {
        for (int i = 0; i < 3000 && !so(); ++i) {
            fetcher->tick();
            std::this_thread::sleep_for(1ms);
        }
    }

    fake_source source;
    cache::held_blob held;
    std::optional<cache::blob_writer> writer;
    std::unique_ptr<blob_fetcher> fetcher;
    std::atomic<int> in_vain{0};
};

TEST(blob_fetcher, what_is_wanted_comes_and_is_right) {
    blob b;
    b.want(3 * chunk + 7, 5000);
    EXPECT_EQ(b.fetcher->waiting(), 1u);
    ASSERT_EQ(b.source.waiting(), 1u);
    b.source.bring_all();
    EXPECT_TRUE(b.is_there(3 * chunk + 7, 5000));
    EXPECT_TRUE(b.is_right(3 * chunk, chunk));
    EXPECT_EQ(b.fetcher->waiting(), 0u);
    EXPECT_EQ(b.in_vain, 0);
}

TEST(blob_fetcher, the_last_chunk_is_shorter) {
    blob b;
    b.want(blob_size - 10, 10);
    b.source.bring_all();
    EXPECT_TRUE(b.is_there(blob_size - 10, 10));
    EXPECT_TRUE(b.is_right(blob_size - 10, 10));
}

TEST(blob_fetcher, what_many_want_is_asked_for_once) {
    blob b;
    for (int i = 0; i < 50; ++i) b.want(10 * chunk, 4096);
    std::uint64_t times = 0;
    for (const auto& [offset, length] : b.source.asked())
        if (offset <= 10 * chunk && offset + length > 10 * chunk) ++times;
    EXPECT_EQ(times, 1u);
    b.source.bring_all();
    EXPECT_EQ(b.fetcher->waiting(), 0u);
}

TEST(blob_fetcher, what_a_broken_read_left_out_is_asked_for_again_and_what_came_is_not) {
    blob b;
    b.want(0, 8 * chunk);
    ASSERT_EQ(b.source.waiting(), 1u);
    b.source.bring(3 * chunk + 50, fail(error_kind::retryable, "broken"));
    EXPECT_TRUE(b.is_there(0, 3 * chunk));
    b.tick_until([&] { return b.source.waiting() > 0; });
    ASSERT_EQ(b.source.waiting(), 1u);
    EXPECT_EQ(b.source.asked().back().first, 3 * chunk);
    b.source.bring_all();
    EXPECT_TRUE(b.is_there(0, 8 * chunk));
    EXPECT_TRUE(b.is_right(0, 8 * chunk));
    EXPECT_EQ(b.in_vain, 0);
}

TEST(blob_fetcher, after_a_failure_there_is_a_pause_and_no_storm) {
    blob b;
    b.want(0, 4096);
    for (int i = 0; i < 200; ++i) {
        b.source.bring(0, fail(error_kind::retryable, "away"));
        b.fetcher->tick();
        std::this_thread::sleep_for(1ms);
    }
    EXPECT_LE(b.source.asked().size(), 3u) << "in 200 ms";
    EXPECT_EQ(b.in_vain, 0) << "it may still come";
}

TEST(blob_fetcher, what_does_not_pass_is_given_up_at_once_and_only_for_those_who_wait_there) {
    blob b;
    b.want(0, 4096);
    b.want(200 * chunk, 4096);
    ASSERT_EQ(b.source.waiting(), 2u);
    b.source.bring(0, fail(error_kind::not_found, "gone"));
    EXPECT_EQ(b.in_vain, 1);
    EXPECT_EQ(b.fetcher->last_error(), "gone");
    b.source.bring_all();
    EXPECT_TRUE(b.is_there(200 * chunk, 4096));
    EXPECT_EQ(b.in_vain, 1);
}

TEST(blob_fetcher, who_has_waited_long_enough_is_told_so_and_the_next_one_is_served) {
    blob b(300ms);
    b.want(0, 4096);
    b.tick_until([&] { return b.in_vain > 0; });
    EXPECT_EQ(b.in_vain, 1);
    EXPECT_EQ(b.fetcher->waiting(), 0u);
    b.source.bring_all();  // the old read comes after all
    b.want(0, 4096);
    b.want(50 * chunk, 4096);
    b.source.bring_all();
    EXPECT_TRUE(b.is_there(0, 4096));
    EXPECT_TRUE(b.is_there(50 * chunk, 4096));
    EXPECT_EQ(b.in_vain, 1);
}

TEST(blob_fetcher, a_read_waits_and_gets_bytes_or_the_reason) {
    blob b(500ms);
    std::vector<std::byte> got(6000);
    {
        std::thread bringer([&] {
            while (!b.source.bring()) std::this_thread::sleep_for(1ms);
            b.source.bring_all();
        });
        const status done = b.fetcher->read(chunk - 3000, got);
        bringer.join();
        ASSERT_TRUE(done) << done.error().message();
        for (std::size_t i = 0; i < got.size(); ++i) ASSERT_EQ(got[i], byte_at(chunk - 3000 + i));
    }
    EXPECT_EQ(b.fetcher->read(blob_size - 10, got).error().kind, error_kind::corrupt);
    std::thread refuser([&] {
        while (!b.source.bring(0, fail(error_kind::auth, "not you"))) std::this_thread::sleep_for(1ms);
    });
    const status refused = b.fetcher->read(100 * chunk, got);
    refuser.join();
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().text, "not you");
}

TEST(blob_fetcher, all_of_it_comes_in_few_reads) {
    blob b;
    b.fetcher->want_all();
    b.tick_until([&] {
        b.source.bring_all();
        return b.writer->complete();
    });
    EXPECT_TRUE(b.writer->complete());
    EXPECT_TRUE(b.is_right(0, blob_size));
    EXPECT_LE(b.source.asked().size(), 40u);
    std::uint64_t bytes = 0;
    for (const auto& [offset, length] : b.source.asked()) bytes += length;
    EXPECT_EQ(bytes, blob_size) << "each byte once";
}

TEST(blob_fetcher, what_another_process_fetches_is_left_to_it_until_it_dies) {
    blob b;
    std::optional<cache::blob_writer> other(cache::blob_writer::attach(b.held.for_writer().value(), blob_size).value());
    ASSERT_EQ(other->claim({20, 22}), 2u);
    b.want(20 * chunk, 4096);
    for (const auto& [offset, length] : b.source.asked())
        EXPECT_TRUE(offset + length <= 20 * chunk || offset >= 22 * chunk);
    other.reset();  // its claims end with it
    b.tick_until([&] {
        b.source.bring_all();
        return b.is_there(20 * chunk, 4096);
    });
    EXPECT_TRUE(b.is_there(20 * chunk, 4096));
}

TEST(blob_fetcher, its_end_cancels_what_is_under_way) {
    blob b;
    b.want(0, 4096);
    b.fetcher->want_all();
    EXPECT_GT(b.fetcher->in_flight(), 0u);
    // The destructor of `blob` returns only when the source has let go of everything.
}

}  // namespace
}  // namespace nerofs::fetch
