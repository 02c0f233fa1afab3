#include "cache/writer.h"

#include <atomic>
#include <chrono>
#include <thread>

#include "cache/private_store.h"
#include "cache/verifier.h"
#include "support.h"

namespace nerofs::cache {
namespace {

using namespace std::chrono_literals;

constexpr std::uint64_t blob_bytes = 20 * chunk_bytes + 777;  // 21 chunks, the last one short

struct writer_test : ::testing::Test {
    held_blob blob = must(open_private(any_key('a', blob_bytes), ""));
};

TEST_F(writer_test, a_chunk_is_there_when_its_last_byte_was_written_and_not_before) {
    const blob_writer writer = writer_of(blob);
    const blob_reader reader = reader_of(blob);
    ASSERT_EQ(writer.claim({2, 4}), 2u);
    chunk_fill fill = writer.fill({2, 4});
    EXPECT_EQ(fill.next_offset(), 2 * chunk_bytes);
    EXPECT_EQ(fill.end_offset(), 4 * chunk_bytes);
    const auto bytes = content(2 * chunk_bytes, 2 * chunk_bytes);
    must(fill.append(std::span(bytes).first(chunk_bytes - 1)));
    EXPECT_EQ(reader.lookup(2 * chunk_bytes, 1), presence::missing);
    must(fill.append(std::span(bytes).subspan(chunk_bytes - 1, 2)));
    EXPECT_EQ(reader.lookup(2 * chunk_bytes, chunk_bytes), presence::there);
    EXPECT_EQ(reader.lookup(2 * chunk_bytes, chunk_bytes + 1), presence::missing);
    must(fill.append(std::span(bytes).subspan(chunk_bytes + 1)));
    EXPECT_TRUE(fill.done());
    EXPECT_EQ(reader.lookup(2 * chunk_bytes, 2 * chunk_bytes), presence::there);
    EXPECT_TRUE(claims_are_true(reader.map(), reader.data()));
}

TEST_F(writer_test, the_short_last_chunk_is_whole_at_the_end_of_the_blob) {
    const blob_writer writer = writer_of(blob);
    fetch(writer, {20, 21});
    EXPECT_EQ(writer.map().lookup(20 * chunk_bytes, 777), presence::there);
    EXPECT_EQ(writer.map().present_bytes(), 777u);
    EXPECT_FALSE(writer.complete());
    fetch(writer, {0, 20});
    EXPECT_TRUE(writer.complete());
    EXPECT_EQ(writer.map().present_bytes(), blob_bytes);
}

TEST_F(writer_test, more_bytes_than_asked_for_are_refused_unwritten) {
    const blob_writer writer = writer_of(blob);
    ASSERT_EQ(writer.claim({0, 1}), 1u);
    chunk_fill fill = writer.fill({0, 1});
    const status extra = fill.append(std::vector<std::byte>(chunk_bytes + 1, std::byte{7}));
    ASSERT_FALSE(extra);
    EXPECT_EQ(extra.error().kind, error_kind::usage);
    EXPECT_EQ(file_bytes(writer.data(), 0, 1)[0], std::byte{0});
    EXPECT_EQ(writer.map().lookup(0, 1), presence::missing);
}

TEST_F(writer_test, ranges_outside_the_blob_fail) {
    const blob_writer writer = writer_of(blob);
    EXPECT_EQ(writer.map().lookup(blob_bytes, 1), presence::failed);
    EXPECT_EQ(writer.map().lookup(blob_bytes - 1, 2), presence::failed);
    EXPECT_EQ(writer.map().lookup(~0ull, 2), presence::failed);
    EXPECT_EQ(writer.map().lookup(blob_bytes, 0), presence::there);
    EXPECT_EQ(writer.claim({20, 22}), 0u);
    EXPECT_EQ(writer.claim({22, 21}), 0u);
    EXPECT_EQ(writer.holder_of(500), claim_holder::present);
}

TEST_F(writer_test, claims_stop_at_what_is_there_or_claimed) {
    const blob_writer one = writer_of(blob);
    const blob_writer two = writer_of(blob);
    EXPECT_NE(one.owner(), two.owner());
    fetch(one, {5, 6});
    EXPECT_EQ(one.claim({3, 21}), 2u);
    EXPECT_EQ(two.claim({0, 21}), 3u);
    EXPECT_EQ(two.claim({3, 21}), 0u);
    EXPECT_EQ(two.holder_of(3), claim_holder::another);
    EXPECT_EQ(two.holder_of(0), claim_holder::this_writer);
    EXPECT_EQ(two.holder_of(5), claim_holder::present);
    EXPECT_EQ(two.holder_of(9), claim_holder::nobody);
    EXPECT_EQ(two.claim({6, 21}), 15u);
}

TEST_F(writer_test, a_dropped_fill_gives_back_what_it_did_not_fill) {
    const blob_writer one = writer_of(blob);
    const blob_writer two = writer_of(blob);
    ASSERT_EQ(one.claim({0, 4}), 4u);
    {
        chunk_fill fill = one.fill({0, 4});
        must(fill.append(content(0, chunk_bytes + 5)));
    }
    EXPECT_EQ(two.holder_of(0), claim_holder::present);
    EXPECT_EQ(two.claim({1, 4}), 3u);
}

TEST_F(writer_test, a_closed_writer_leaves_no_claims) {
    {
        const blob_writer gone = writer_of(blob);
        ASSERT_EQ(gone.claim({0, 21}), 21u);
    }
    EXPECT_EQ(writer_of(blob).claim({0, 21}), 21u);
}

TEST_F(writer_test, claims_of_one_that_lives_but_stands_still_can_be_taken_over) {
    const blob_writer stuck = writer_of(blob);
    const blob_writer other = writer_of(blob);
    ASSERT_EQ(stuck.claim({0, 3}), 3u);
    chunk_fill late = stuck.fill({0, 3});
    EXPECT_EQ(other.release_dead({0, 3}), 0u);
    EXPECT_EQ(other.take_over({0, 3}), 3u);
    chunk_fill fill = other.fill({0, 3});
    must(fill.append(content(0, 3 * chunk_bytes)));
    // Both write the same bytes: nothing comes of it.
    must(late.append(content(0, 3 * chunk_bytes)));
    EXPECT_TRUE(claims_are_true(other.map(), other.data()));
    EXPECT_EQ(other.map().present_chunks(), 3u);
}

TEST_F(writer_test, a_waiter_wakes_when_the_chunk_comes) {
    const blob_reader reader = reader_of(blob);
    std::atomic<bool> began = false;
    std::jthread server([&] {
        for (;;) {
            const std::uint32_t seen = reader.map().generation();
            if (reader.lookup(chunk_bytes, 1) == presence::there) return;
            began = true;
            reader.map().wait_change(seen, std::chrono::steady_clock::now() + 60s);
        }
    });
    while (!began) std::this_thread::yield();
    const blob_writer writer = writer_of(blob);
    const auto start = std::chrono::steady_clock::now();
    fetch(writer, {1, 2});
    server.join();
    EXPECT_LT(std::chrono::steady_clock::now() - start, 20s);
}

TEST_F(writer_test, a_wait_has_a_deadline) {
    const blob_reader reader = reader_of(blob);
    EXPECT_FALSE(reader.map().wait_change(reader.map().generation(), std::chrono::steady_clock::now() + 20ms));
    EXPECT_TRUE(reader.map().wait_change(reader.map().generation() + 1, std::chrono::steady_clock::now() + 60s));
}

TEST_F(writer_test, owners_are_as_many_as_there_are_slots) {
    std::vector<blob_writer> all;
    for (unsigned i = 0; i < 20; ++i) {
        all.push_back(writer_of(blob));
        EXPECT_EQ(all.back().owner(), i);
    }
    while (all.size() > 7) all.pop_back();
    EXPECT_EQ(writer_of(blob).owner(), 7u);
}

TEST_F(writer_test, threads_that_want_all_of_it_fetch_each_chunk_once) {
    constexpr unsigned threads = 4;
    const held_blob big = must(open_private(any_key('b', 300 * chunk_bytes), ""));
    std::vector<std::atomic<unsigned>> fetched(300);
    const blob_writer shared = writer_of(big);
    std::vector<std::jthread> all;
    for (unsigned t = 0; t < threads; ++t) {
        all.emplace_back([&, t] {
            // Two threads share a writer, two have their own.
            std::optional<blob_writer> own;
            if (t >= 2) own.emplace(writer_of(big));
            const blob_writer& writer = own ? *own : shared;
            while (!writer.complete()) {
                for (std::uint64_t at = 0; at < 300; ++at) {
                    const std::uint64_t n = writer.claim({at, std::min<std::uint64_t>(300, at + 7)});
                    if (n == 0) continue;
                    chunk_fill fill = writer.fill({at, at + n});
                    for (std::uint64_t i = 0; i < n; ++i) ++fetched[at + i];
                    while (!fill.done()) must(fill.append(content(fill.next_offset(), chunk_bytes / 2)));
                }
            }
        });
    }
    all.clear();
    for (const auto& times : fetched) EXPECT_EQ(times, 1u);
    EXPECT_TRUE(claims_are_true(shared.map(), shared.data()));
}

TEST_F(writer_test, a_whole_blob_is_checked_step_by_step) {
    const held_blob good = must(open_private(key_of(blob_bytes), ""));
    const blob_writer writer = writer_of(good);
    blob_verifier verifier = must(blob_verifier::make(writer.data(), writer.map(), good.key().digest()));
    EXPECT_EQ(must(verifier.step()), verdict::waiting);
    fetch(writer, {0, 5});
    EXPECT_EQ(must(verifier.step(chunk_bytes)), verdict::more);
    EXPECT_EQ(verifier.checked_bytes(), chunk_bytes);
    EXPECT_EQ(must(verifier.step()), verdict::more);
    EXPECT_EQ(must(verifier.step()), verdict::waiting);
    fetch(writer, {5, 21});
    EXPECT_EQ(must(verifier.step()), verdict::match);
    EXPECT_EQ(must(verifier.step()), verdict::match);
}

TEST_F(writer_test, wrong_bytes_are_found_and_fail_every_reader) {
    const held_blob bad = must(open_private(key_of(blob_bytes), ""));
    const blob_writer writer = writer_of(bad);
    fetch(writer, {0, 20});
    ASSERT_EQ(writer.claim({20, 21}), 1u);
    chunk_fill fill = writer.fill({20, 21});
    auto bytes = content(20 * chunk_bytes, 777);
    bytes[776] ^= std::byte{1};
    must(fill.append(bytes));
    blob_verifier verifier = must(blob_verifier::make(writer.data(), writer.map(), bad.key().digest()));
    ASSERT_EQ(must(verifier.step()), verdict::mismatch);
    const blob_reader reader = reader_of(bad);
    EXPECT_EQ(reader.lookup(0, 1), presence::there);
    const std::uint32_t seen = reader.map().generation();
    writer.quarantine();
    EXPECT_EQ(reader.lookup(0, 1), presence::failed);
    EXPECT_TRUE(reader.map().wait_change(seen, std::chrono::steady_clock::now() + 60s));
    EXPECT_FALSE(blob_verifier::make(writer.data(), writer.map(), "md5:00"));
}

TEST_F(writer_test, one_writer_checks_at_a_time) {
    const blob_writer one = writer_of(blob);
    {
        const blob_writer two = writer_of(blob);
        EXPECT_TRUE(two.take_verification());
        EXPECT_FALSE(one.take_verification());
    }
    EXPECT_TRUE(one.take_verification());
}

TEST_F(writer_test, a_map_of_another_size_or_with_another_magic_is_refused) {
    EXPECT_FALSE(blob_reader::open(must(blob.for_reader()), blob_bytes + 64 * 64 * chunk_bytes));
    EXPECT_FALSE(blob_reader::open(must(blob.for_reader()), blob_bytes - 1));
    EXPECT_FALSE(blob_reader::open(must(blob.for_reader()), 0));
    EXPECT_FALSE(blob_reader::open(must(blob.for_reader()), max_blob_bytes + 1));
    reader_files swapped = must(blob.for_reader());
    std::swap(swapped.data, swapped.map);
    EXPECT_FALSE(blob_reader::open(std::move(swapped), blob_bytes));
}

TEST_F(writer_test, a_private_store_on_disk_leaves_no_file) {
    const scratch_directory scratch;
    const held_blob on_disk = must(open_private(any_key('c', blob_bytes), scratch.path()));
    const blob_writer writer = writer_of(on_disk);
    fetch(writer, {0, 21});
    EXPECT_TRUE(claims_are_true(writer.map(), writer.data()));
    EXPECT_EQ(must(writer.checkpoint()), checkpoint_outcome::nowhere);
    EXPECT_TRUE(std::filesystem::is_empty(scratch.path()));
}

#if NEROFS_FAULTS
TEST_F(writer_test, a_full_disk_is_told_and_what_was_not_written_is_not_there) {
    const blob_writer writer = writer_of(blob);
    ASSERT_EQ(writer.claim({0, 4}), 4u);
    chunk_fill fill = writer.fill({0, 4});
    fault::set_plan("cache.write:limit:*:20000,cache.write:errno:3:28");
    const status full = fill.append(content(0, 2 * chunk_bytes));
    fault::set_plan("");
    ASSERT_FALSE(full);
    EXPECT_TRUE(is_out_of_space(full.error())) << full.error().text;
    EXPECT_EQ(writer.map().present_chunks(), 0u);
    EXPECT_EQ(fill.next_offset(), 0u);
    // After room was made the same bytes go in.
    must(fill.append(content(0, 4 * chunk_bytes)));
    EXPECT_TRUE(claims_are_true(writer.map(), writer.data()));
    EXPECT_EQ(writer.map().present_chunks(), 4u);
}

// A claimant is killed at each step of its work: nothing it left keeps the next one from going on, and nothing that it
// hadn't written is believed.
TEST_F(writer_test, kill_9_of_a_claimant_at_every_step) {
    const char* const points[] = {"cache.claimed:kill:1",   "cache.claimed:kill:8",   "cache.write:kill:1",
                                  "cache.write:kill:2",     "cache.publish:kill:1",   "cache.publish:kill:2",
                                  "cache.published:kill:1", "cache.published:kill:3", "cache.released:kill:1",
                                  "cache.released:kill:2"};
    for (const char* plan : points) {
        for (const bool restarted : {false, true}) {
            SCOPED_TRACE(plan);
            const held_blob shared = must(open_private(key_of(blob_bytes), ""));
            const blob_writer survivor = writer_of(shared);
            const int ended = in_child(
                [&] {
                    const blob_writer writer = writer_of(shared);
                    if (writer.claim({0, 8}) != 8) ::_exit(3);
                    chunk_fill fill = writer.fill({0, 8});
                    for (unsigned i = 0; i < 8; ++i) must(fill.append(content(i * chunk_bytes, chunk_bytes)));
                },
                plan);
            ASSERT_TRUE(WIFSIGNALED(ended)) << ended;
            EXPECT_TRUE(claims_are_true(survivor.map(), survivor.data()));
            std::uint64_t claimed = 0;
            for (unsigned i = 0; i < 8; ++i) claimed += survivor.holder_of(i) == claim_holder::another;
            if (restarted) {
                const blob_writer next = writer_of(shared);  // takes the dead one's slot and clears it
                for (unsigned i = 0; i < 8; ++i) EXPECT_NE(survivor.holder_of(i), claim_holder::another);
            } else {
                EXPECT_EQ(survivor.release_dead({0, 21}), claimed);
            }
            for (std::uint64_t at = 0; at < 21; ++at)
                if (survivor.claim({at, at + 1}) == 1) {
                    chunk_fill fill = survivor.fill({at, at + 1});
                    must(fill.append(content(at * chunk_bytes, fill.end_offset() - fill.next_offset())));
                }
            EXPECT_TRUE(survivor.complete());
            EXPECT_TRUE(claims_are_true(survivor.map(), survivor.data()));
        }
    }
}

TEST_F(writer_test, a_writer_killed_while_it_takes_a_dead_ones_slot_leaves_no_claim_behind) {
    const int first = in_child(
        [&] {
            const blob_writer writer = writer_of(blob);
            (void)writer.claim({0, 21});
        },
        "cache.claimed:kill:21");
    ASSERT_TRUE(WIFSIGNALED(first));
    const int second = in_child([&] { (void)writer_of(blob); }, "cache.attach.sweep:kill:1");
    ASSERT_TRUE(WIFSIGNALED(second));
    EXPECT_EQ(writer_of(blob).claim({0, 21}), 21u);
}
#endif

TEST_F(writer_test, processes_that_want_all_of_it_and_are_killed_at_random_end_with_all_of_it) {
    const held_blob shared = must(open_private(key_of(200 * chunk_bytes), ""));
    const auto work = [&] {
        const blob_writer writer = writer_of(shared);
        while (!writer.complete()) {
            for (std::uint64_t at = 0; at < 200; ++at) {
                const std::uint64_t n = writer.claim({at, std::min<std::uint64_t>(200, at + 3)});
                if (n == 0) {
                    writer.release_dead({at, at + 1});
                    continue;
                }
                chunk_fill fill = writer.fill({at, at + n});
                while (!fill.done()) must(fill.append(content(fill.next_offset(), 4096)));
            }
        }
    };
    std::vector<pid_t> children;
    const auto start = [&] {
        const pid_t child = ::fork();
        if (child == 0) {
            work();
            ::_exit(0);
        }
        children.push_back(child);
    };
    for (unsigned i = 0; i < 3; ++i) start();
    for (unsigned round = 0; round < 30; ++round) {
        std::this_thread::sleep_for(std::chrono::microseconds(300 + round * 97 % 1500));
        ::kill(children.front(), SIGKILL);
        ::waitpid(children.front(), nullptr, 0);
        children.erase(children.begin());
        start();
    }
    for (const pid_t child : children) {
        int state = 0;
        ::waitpid(child, &state, 0);
        EXPECT_TRUE(WIFEXITED(state) && WEXITSTATUS(state) == 0) << state;
    }
    const blob_writer writer = writer_of(shared);
    EXPECT_TRUE(writer.complete());
    EXPECT_TRUE(claims_are_true(writer.map(), writer.data()));
}

}  // namespace
}  // namespace nerofs::cache
