// Reads of bytes that aren't there yet: they wait without holding up others, and end with the right bytes or an error.
#include "serve/misses.h"

#include <sys/wait.h>

#include <atomic>

#include "lazy_image.h"

namespace nerofs::serve {
namespace {

using namespace std::chrono_literals;
using cache::decode_missing;
using cache::missing_piece;
using cache::send_missing;
using cache::send_read_failed;
using nbd::cmd;
using nbd::error_value;

// A connection that may wait.
class lazily_served : public client {
  public:
    explicit lazily_served(lazy_image& i) : lazily_served(i, std::make_shared<journal_memory>(1), socket_pair()) {}
    // One that goes on with what an earlier one left.
    lazily_served(lazy_image& i, std::shared_ptr<journal_memory> memory, std::pair<unique_fd, unique_fd> ends)
        : client(std::move(ends.first)), memory_(std::move(memory)), server_(std::move(ends.second)) {
        thread_ = std::thread(
            [this, &i] { end_ = connection(server_, i.map(), memory_->get(), 0, {}, i.make_waiter()).run(); });
    }
    ~lazily_served() { finish(); }
    connection_end finish() {
        if (thread_.joinable()) {
            no_more_requests();
            thread_.join();
        }
        return end_;
    }
    std::shared_ptr<journal_memory> memory() const { return memory_; }

  private:
    std::shared_ptr<journal_memory> memory_;
    unique_fd server_;
    connection_end end_ = connection_end::closed;
    std::thread thread_;
};

TEST(misses, a_read_of_what_is_not_there_waits_for_its_bytes_and_gets_them) {
    lazy_image image;
    lazily_served c(image);
    c.ask(cmd::read, 1, blob_size + 5 * chunk + 100, 2 * chunk);
    const auto told = image.told();
    ASSERT_EQ(told.size(), 1u);
    EXPECT_EQ(told[0].blob, 7u);
    EXPECT_EQ(told[0].offset, 5 * chunk + 100);
    EXPECT_EQ(told[0].length, 2 * chunk);
    image.fill({5, 7});  // not all of it
    c.read(2, 0, 4096);  // had it been answered with what is there, its reply would come first
    image.fill({7, 8});
    c.expect_read(1, blob_size + 5 * chunk + 100, 2 * chunk);
    EXPECT_EQ(image.desk().waiting_reads(), 0u);
}

TEST(misses, what_is_there_is_answered_while_other_reads_wait) {
    lazy_image image;
    lazily_served c(image);
    image.fill({1, 2});
    for (std::uint64_t i = 0; i < 127; ++i) c.ask(cmd::read, 100 + i, blob_size + 3 * chunk, 4096);
    for (std::uint64_t i = 0; i < 50; ++i) {
        c.read(1000 + i, i * 4096, 4096);
        c.read(2000 + i, blob_size + chunk + i * 512, 512);
    }
    image.fill({3, 4});
    std::vector<bool> came(127);
    for (int i = 0; i < 127; ++i) {
        const auto reply = c.take_reply();
        ASSERT_TRUE(reply);
        ASSERT_LT(reply->cookie - 100, 127u);
        came[reply->cookie - 100] = true;
        EXPECT_TRUE(is_content(c.take_bytes(4096), blob_size + 3 * chunk));
    }
    EXPECT_EQ(std::count(came.begin(), came.end(), true), 127);
}

TEST(misses, with_every_place_taken_by_waiting_reads_it_still_goes_on_when_bytes_come) {
    lazy_image image;
    lazily_served c(image);
    for (std::uint64_t i = 0; i < max_in_flight; ++i) c.ask(cmd::read, i, blob_size + (i % 4) * chunk, 512);
    std::size_t told = 0;
    while (told < max_in_flight) {
        const auto some = image.told();
        ASSERT_FALSE(some.empty());
        told += some.size();
    }
    image.fill({0, 4});
    for (std::uint64_t i = 0; i < max_in_flight; ++i) {
        const auto reply = c.take_reply();
        ASSERT_TRUE(reply);
        EXPECT_TRUE(is_content(c.take_bytes(512), blob_size + (reply->cookie % 4) * chunk));
    }
    c.read(999, 0, 512);
}

TEST(misses, with_every_place_taken_the_end_of_the_socket_is_the_end) {
    lazy_image image;
    lazily_served c(image);
    for (std::uint64_t i = 0; i < max_in_flight; ++i) c.ask(cmd::read, i, blob_size, 512);
    std::size_t told = 0;
    while (told < max_in_flight) told += image.told().size();
    ::shutdown(c.fd().get(), SHUT_RDWR);
    EXPECT_EQ(c.finish(), connection_end::closed);
    EXPECT_EQ(image.desk().waiting_reads(), 0u) << "nobody waits any more";
}

TEST(misses, a_read_that_the_fetcher_gives_up_fails_and_no_other) {
    lazy_image image;
    lazily_served c(image);
    c.ask(cmd::read, 1, blob_size, 512);
    const auto first = image.told();
    c.ask(cmd::read, 2, blob_size, 512);
    const auto second = image.told();
    ASSERT_EQ(first.size(), 1u);
    ASSERT_EQ(second.size(), 1u);
    image.say_failed(first[0].id);
    c.expect_reply(1, error_value::eio);
    image.say_failed(first[0].id);  // again: it is over
    image.fill({0, 1});
    c.expect_read(2, blob_size, 512);
}

TEST(misses, a_read_fails_when_its_patience_is_at_an_end_though_there_is_no_fetcher) {
    lazy_image image(200ms);
    image.desk().set_fetcher({});
    lazily_served c(image);
    c.ask(cmd::read, 1, blob_size, 512);
    c.expect_reply(1, error_value::eio);
    image.fill({0, 1});
    c.read(2, blob_size, 512);  // and it can be read when it comes later
}

TEST(misses, the_next_fetcher_is_told_all_that_is_waited_for) {
    lazy_image image;
    lazily_served c(image);
    image.desk().set_fetcher({});
    c.ask(cmd::read, 1, blob_size, 512);
    c.ask(cmd::read, 2, blob_size + 9 * chunk, 512);
    while (image.desk().waiting_reads() < 2) std::this_thread::yield();
    image.new_fetcher();
    const auto told = image.told();
    ASSERT_EQ(told.size(), 2u);
    EXPECT_EQ(told[0].offset, 0u);
    EXPECT_EQ(told[1].offset, 9 * chunk);
    EXPECT_NE(told[0].id, told[1].id);
    image.fill({0, 1});
    c.expect_read(1, blob_size, 512);
    image.new_fetcher();
    const auto again = image.told();
    ASSERT_EQ(again.size(), 1u) << "of what has been answered nobody asks again";
    EXPECT_EQ(again[0].offset, 9 * chunk);
    image.fill({9, 10});
    c.expect_read(2, blob_size + 9 * chunk, 512);
}

TEST(misses, reads_over_the_edges_of_the_blob_ask_for_its_part_only) {
    lazy_image image;
    lazily_served c(image);
    c.ask(cmd::read, 1, blob_size - 1000, 2000);
    c.ask(cmd::read, 2, 2 * blob_size - 300, 700);
    std::vector<missing_piece> told;
    while (told.size() < 2)
        for (const missing_piece& p : image.told()) told.push_back(p);
    EXPECT_EQ(told[0].offset, 0u);
    EXPECT_EQ(told[0].length, 1000u);
    EXPECT_EQ(told[1].offset, blob_size - 300);
    EXPECT_EQ(told[1].length, 300u);
    image.fill({0, 1});
    c.expect_read(1, blob_size - 1000, 2000);
    image.fill({63, 64});
    c.expect_read(2, 2 * blob_size - 300, 700);
}

TEST(misses, a_blob_in_quarantine_fails_its_waiting_and_its_new_reads_and_leaves_the_rest) {
    lazy_image image;
    lazily_served c(image);
    image.fill({1, 2});
    c.read(1, blob_size + chunk, 512);
    c.ask(cmd::read, 2, blob_size, 512);
    ASSERT_EQ(image.told().size(), 1u);
    image.presence().change_state(cache::blob_state::quarantined);
    c.expect_reply(2, error_value::eio);
    c.ask(cmd::read, 3, blob_size + chunk, 512);
    c.expect_reply(3, error_value::eio);
    c.read(4, 2 * blob_size, 512);
}

TEST(misses, the_next_process_waits_for_what_the_dead_one_waited_for) {
    lazy_image image;
    auto ends = socket_pair();
    const auto memory = std::make_shared<journal_memory>(1);
    // What a killed server leaves: requests in slots and in the intake.
    connection_journal& j = memory->get().connection(0);
    j.slots[3].cookie = 31;
    j.slots[3].offset = blob_size + 2 * chunk;
    j.slots[3].length = 4096;
    j.slots[3].state = slot_state::received;
    j.intake[0] = nbd::make_request(cmd::read, 32, blob_size + 4 * chunk, 4096);
    lazily_served c(image, memory, std::move(ends));
    std::vector<missing_piece> told;
    while (told.size() < 2)
        for (const missing_piece& p : image.told()) told.push_back(p);
    image.fill({4, 5});
    c.expect_read(32, blob_size + 4 * chunk, 4096);
    image.fill({2, 3});
    c.expect_read(31, blob_size + 2 * chunk, 4096);
}

TEST(misses, what_was_answered_is_told_as_touched) {
    lazy_image image;
    lazily_served c(image);
    image.fill({0, 10});
    c.read(1, blob_size + 2 * chunk, 2 * chunk);
    c.read(2, blob_size + 7 * chunk + 5, 1);
    c.ask(cmd::read, 3, blob_size + 20 * chunk, 512);  // waits: not touched
    (void)image.told();
    EXPECT_EQ(c.finish(), connection_end::closed);
    std::vector<cache::chunk_range> seen;
    image.touched().take_new([&](cache::chunk_range range) { seen.push_back(range); });
    EXPECT_EQ(seen, (std::vector<cache::chunk_range>{{2, 4}, {7, 8}}));
}

// Bytes come at the very moments at which readers look for them: none is overlooked.
TEST(misses, no_arrival_is_overlooked) {
    constexpr int rounds = sanitized ? 3 : 20;
    for (int round = 0; round < rounds; ++round) {
        lazy_image image;
        std::vector<std::unique_ptr<lazily_served>> clients;
        for (int i = 0; i < 4; ++i) clients.push_back(std::make_unique<lazily_served>(image));
        std::thread filler([&] {
            for (std::uint64_t at = 0; at < 64; ++at) image.fill({at, at + 1});
        });
        std::vector<std::thread> readers;
        for (const auto& c : clients) {
            readers.emplace_back([&c] {
                for (std::uint64_t at = 0; at < 64; ++at) c->read(at, blob_size + at * chunk, 4096);
            });
        }
        for (std::thread& t : readers) t.join();
        filler.join();
        EXPECT_EQ(image.desk().waiting_reads(), 0u);
    }
}

TEST(misses, messages_that_are_malformed_are_refused) {
    os::packet packet;
    EXPECT_FALSE(decode_missing(packet));
    auto ends = os::channel::make_pair().value();
    const missing_piece piece{1, 2, 3, 4};
    ASSERT_TRUE(send_missing(ends.first, std::span(&piece, 1)));
    packet = ends.second.receive(os::in_time(1s)).value();
    const auto right = decode_missing(packet);
    ASSERT_TRUE(right);
    ASSERT_EQ(right->size(), 1u);
    EXPECT_EQ(right->front().id, 1u);
    EXPECT_EQ(right->front().blob, 2u);
    EXPECT_EQ(right->front().offset, 3u);
    EXPECT_EQ(right->front().length, 4u);
    packet.bytes.pop_back();
    EXPECT_FALSE(decode_missing(packet));
    packet.bytes.resize(16);
    packet.bytes[8] = std::byte{0xff};  // a count that the packet doesn't hold
    EXPECT_FALSE(decode_missing(packet));
}

}  // namespace
}  // namespace nerofs::serve
