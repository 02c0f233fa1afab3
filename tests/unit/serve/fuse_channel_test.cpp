// The loop of a /dev/fuse descriptor against a stand-in of the driver: answers, waiting reads, and what a successor
// makes of what a dead process left.
#include "serve/fuse_channel.h"

#include <algorithm>
#include <atomic>
#include <mutex>
#include <random>
#include <set>

#include "base/fault.h"
#include "fuse_driver.h"
#include "lazy_image.h"

namespace nerofs::serve {
namespace {

using namespace std::chrono_literals;

constexpr std::uint64_t image_size = (4u << 20) + 100;

const image& the_image() {
    static const image instance(image_size);
    return instance;
}

// A channel that serves in a thread of its own.
class fuse_served : public fuse_driver {
  public:
    explicit fuse_served(const image_map& map) : fuse_served(map, std::make_shared<journal_memory>(1), nullptr) {}
    explicit fuse_served(lazy_image& i) : fuse_served(i, std::make_shared<journal_memory>(1)) {}
    fuse_served(lazy_image& i, std::shared_ptr<journal_memory> memory) : fuse_served(i.map(), std::move(memory), &i) {}
    fuse_served(const image_map& map, std::shared_ptr<journal_memory> memory, lazy_image* lazy)
        : fuse_served(map, std::move(memory), lazy, packet_pair()) {}
    ~fuse_served() { finish(); }

    connection_end finish() {
        if (thread_.joinable()) {
            unmount();
            thread_.join();
        }
        return end_;
    }
    connection_end wait() {
        if (thread_.joinable()) thread_.join();
        return end_;
    }
    const connection_journal& its_journal() const { return memory_->get().connection(0); }
    std::shared_ptr<journal_memory> memory() const { return memory_; }

  private:
    fuse_served(const image_map& map, std::shared_ptr<journal_memory> memory, lazy_image* lazy,
                std::pair<unique_fd, unique_fd> ends)
        : fuse_driver(std::move(ends.first)), memory_(std::move(memory)), device_(std::move(ends.second)) {
        thread_ = std::thread([this, &map, lazy] {
            std::optional<waiter> waiting;
            if (lazy) waiting.emplace(lazy->make_waiter());
            end_ = fuse_channel(device_, map, memory_->get(), 0, std::move(waiting)).run();
            device_.reset();
        });
    }

    std::shared_ptr<journal_memory> memory_;
    unique_fd device_;
    connection_end end_ = connection_end::disconnect;
    std::thread thread_;
};

TEST(fuse_channel, answers_each_request_with_one_packet) {
    fuse_served c(the_image().map());
    EXPECT_EQ(c.call(fuse_request(FUSE_STATFS, 5, root_node)).as<fuse_statfs_out>().st.blocks, image_size / 4096 + 1);
    EXPECT_EQ(c.call(fuse_request(FUSE_ACCESS, 6, root_node, bytes(8))).error, ENOSYS);
    c.read(7, 0, 4096);
    c.read(8, 12345, 1u << 20);
    c.ask(fuse_read(9, image_size - 100, 4096));
    c.expect_read(9, image_size - 100, 100);
    EXPECT_EQ(c.call(fuse_read(10, image_size, 4096)).body.size(), 0u);
    c.finish();
    EXPECT_EQ(c.its_journal().requests, 6u);
    EXPECT_EQ(c.its_journal().errors, 0u);
}

TEST(fuse_channel, what_has_no_answer_gets_none) {
    fuse_served c(the_image().map());
    c.ask(fuse_request(FUSE_FORGET, 5, file_node, bytes(8)));
    c.ask(fuse_request(FUSE_BATCH_FORGET, 6, 0, bytes(8000)));  // longer than the journal's part of the buffer
    c.read(7, 4096, 4096);
    c.finish();
    c.expect_no_more();
}

TEST(fuse_channel, bytes_that_are_gone_are_eio_and_never_less_or_zeros) {
    const image i(1u << 20);
    fuse_served c(i.map());
    i.truncate((1u << 20) - 4096 - 50);
    const fuse_answer a = c.call(fuse_read(7, (1u << 20) - 8192, 8192));
    EXPECT_EQ(a.error, EIO);
    c.read(8, 0, 65536);
    EXPECT_EQ(c.its_journal().errors, 1u);
}

TEST(fuse_channel, what_is_no_request_ends_it) {
    for (const bytes& packet :
         {bytes(1), bytes(39), bytes(40), bytes(8192, std::byte{0xff}), fuse_request(FUSE_READ, 1, 2)}) {
        fuse_served c(the_image().map());
        bytes lying = packet;
        if (packet.size() == sizeof(fuse_in_header)) lying.push_back(std::byte{0});  // longer than it says
        c.ask(lying);
        EXPECT_EQ(c.wait(), connection_end::violation) << packet.size();
        c.expect_no_more();
    }
}

// ---- bytes that aren't there yet ----

TEST(fuse_channel, hits_do_not_wait_behind_misses) {
    lazy_image image;
    fuse_served c(image);
    c.ask(fuse_read(1, blob_size + 5 * chunk + 100, 2 * chunk));
    const auto told = image.told();
    ASSERT_EQ(told.size(), 1u);
    EXPECT_EQ(told[0].offset, 5 * chunk + 100);
    for (std::uint64_t i = 2; i < 50; ++i) c.read(i, i * 100, 4096);
    image.fill({5, 7});
    c.read(50, 0, 4096);  // had the first been answered with what is there, its answer would come before
    image.fill({7, 8});
    c.expect_read(1, blob_size + 5 * chunk + 100, 2 * chunk);
    EXPECT_EQ(image.desk().waiting_reads(), 0u);
    c.read(51, blob_size + 5 * chunk, chunk);  // and reads may block again
}

TEST(fuse_channel, as_many_as_there_are_slots_wait_and_the_next_ones_wait_in_the_kernel) {
    lazy_image image;
    fuse_served c(image);
    for (std::uint64_t i = 0; i < max_in_flight; ++i) c.ask(fuse_read(100 + i, blob_size + i % 64 * chunk, 512));
    std::size_t told = 0;
    while (told < max_in_flight) told += image.told().size();
    c.ask(fuse_read(1, 0, 4096));  // a hit, but nobody can say so before it is read
    EXPECT_TRUE(c.silent());
    image.fill({3, 4});
    std::set<std::uint64_t> got;
    for (int i = 0; i < 3; ++i) {
        const auto a = c.take();
        ASSERT_TRUE(a);
        EXPECT_EQ(a->error, 0);
        got.insert(a->unique);
    }
    EXPECT_EQ(got, (std::set<std::uint64_t>{1, 103, 167}));
    image.fill({0, 64});
    for (std::size_t i = 0; i < max_in_flight - 2; ++i) {
        const auto a = c.take();
        ASSERT_TRUE(a);
        EXPECT_TRUE(is_content(a->body, blob_size + (a->unique - 100) % 64 * chunk));
        EXPECT_TRUE(got.insert(a->unique).second);
    }
    c.finish();
    c.expect_no_more();
}

TEST(fuse_channel, a_read_that_nobody_fills_ends_after_the_desks_patience) {
    lazy_image image(200ms);
    fuse_served c(image);
    EXPECT_EQ(c.call(fuse_read(1, blob_size, 512)).error, EIO);
    EXPECT_EQ(c.its_journal().errors, 1u);
    EXPECT_EQ(image.desk().waiting_reads(), 0u);
    c.read(2, 0, 512);
}

TEST(fuse_channel, what_the_fetcher_gives_up_is_eio_at_once) {
    lazy_image image;
    fuse_served c(image);
    c.ask(fuse_read(1, blob_size, 512));
    const auto told = image.told();
    ASSERT_EQ(told.size(), 1u);
    image.say_failed(told[0].id);
    EXPECT_EQ(c.take(1).error, EIO);
}

TEST(fuse_channel, the_end_of_the_file_system_ends_the_waiting) {
    lazy_image image;
    fuse_served c(image);
    c.ask(fuse_read(1, blob_size, 512));
    ASSERT_EQ(image.told().size(), 1u);
    EXPECT_EQ(c.finish(), connection_end::closed);
    EXPECT_EQ(image.desk().waiting_reads(), 0u);
}

TEST(fuse_channel, without_a_waiter_what_is_missing_is_an_error) {
    lazy_image image;
    fuse_served c(image.map());
    EXPECT_EQ(c.call(fuse_read(1, blob_size, 512)).error, EIO);
}

// ---- what a successor finds ----

class fuse_taken_over : public testing::Test {
  protected:
    connection_journal& j() const { return memory_->get().connection(0); }
    void in_intake(const bytes& request) const { std::memcpy(j().intake.data(), request.data(), request.size()); }
    void in_slot(std::uint16_t index, std::uint64_t unique, std::uint64_t offset, std::uint32_t length,
                 std::uint32_t error = 0) const {
        request_slot& s = j().slots[index];
        s.length = length;
        s.cookie = unique;
        s.offset = offset;
        s.error = error;
        s.state = slot_state::received;
    }
    std::shared_ptr<journal_memory> memory_ = std::make_shared<journal_memory>(1);
};

TEST_F(fuse_taken_over, a_request_in_the_intake_is_answered_before_the_next_is_read) {
    in_intake(fuse_read(7, 4096, 8192));
    fuse_served c(the_image().map(), memory_, nullptr);
    c.expect_read(7, 4096, 8192);
    c.read(8, 0, 512);
    c.finish();
    EXPECT_EQ(j().takeovers, 1u);
    fuse_served next(the_image().map(), memory_, nullptr);
    next.finish();
    next.expect_no_more();
}

TEST_F(fuse_taken_over, a_request_other_than_a_read_is_answered_too) {
    fuse_init_in in{};
    in.major = 7;
    in.minor = 38;
    in_intake(fuse_request(FUSE_INIT, 2, 0, bytes_of(in)));
    fuse_served c(the_image().map(), memory_, nullptr);
    EXPECT_EQ(c.take(2).as<fuse_init_out>().major, 7u);
}

TEST_F(fuse_taken_over, a_slot_whose_bytes_have_come_is_answered_and_one_whose_bytes_have_not_waits_again) {
    lazy_image image;
    image.fill({1, 2});
    in_slot(0, 7, blob_size + chunk, 512);
    in_slot(100, 8, blob_size + 2 * chunk, 512);
    in_slot(127, 9, blob_size, 512, EIO);  // decided
    fuse_served c(image, memory_);
    c.expect_read(7, blob_size + chunk, 512);
    EXPECT_EQ(c.take(9).error, EIO);
    ASSERT_EQ(image.told().size(), 1u);
    image.fill({2, 3});
    c.expect_read(8, blob_size + 2 * chunk, 512);
    c.finish();
    EXPECT_EQ(j().takeovers, 3u);
    for (const request_slot& s : j().slots) EXPECT_EQ(s.state, slot_state::empty);
}

TEST_F(fuse_taken_over, a_request_in_a_slot_and_in_the_intake_is_answered_once) {
    lazy_image image;
    in_intake(fuse_read(7, blob_size, 512));
    in_slot(3, 7, blob_size, 512);
    fuse_served c(image, memory_);
    ASSERT_EQ(image.told().size(), 1u);
    image.fill({0, 1});
    c.expect_read(7, blob_size, 512);
    c.finish();
    c.expect_no_more();
    EXPECT_EQ(j().takeovers, 1u);
}

TEST_F(fuse_taken_over, a_damaged_journal_makes_the_kernel_ask_again_and_sends_nothing_of_it) {
    for (int what = 0; what < 5; ++what) {
        SCOPED_TRACE(what);
        memory_ = std::make_shared<journal_memory>(1);
        in_slot(5, 8, 0, 512);
        if (what == 0) in_slot(0, 7, image_size, 1);
        if (what == 1) in_slot(0, 7, 0, ~0u);
        if (what == 2) in_slot(0, 7, ~std::uint64_t{0}, 4096);
        if (what == 3) in_intake(bytes(64, std::byte{0xff}));
        if (what == 4) in_intake(bytes(4, std::byte{1}));
        fuse_served c(the_image().map(), memory_, nullptr);
        const auto notice = c.take();
        ASSERT_TRUE(notice);
        EXPECT_EQ(notice->unique, 0u);
        EXPECT_TRUE(notice->body.empty());
        c.read(8, 0, 512);  // asked again
        c.finish();
        c.expect_no_more();
    }
}

TEST_F(fuse_taken_over, where_the_kernel_cannot_ask_again_a_damaged_journal_is_the_end) {
    in_slot(0, 7, image_size, 1);
    unique_fd read_only(::open("/dev/null", O_RDONLY | O_CLOEXEC));  // refuses the notice
    EXPECT_EQ(fuse_channel(read_only, the_image().map(), memory_->get(), 0).run(), connection_end::cut);
}

// ---- deaths ----

#if NEROFS_FAULTS

// Thrown where a process would die; nothing on its way cleans up.
struct died {};

const char* const points[] = {"fuse.intake", "fuse.answer", "fuse.answered", "fuse.done"};

class fuse_takeover : public testing::Test {
  protected:
    void TearDown() override {
        fault::set_killer(nullptr);
        fault::set_plan("");
    }

    // Readers over some channels while the plan is in force. Each read gets right bytes; an answer comes twice only
    // where a process died between the answer and its note of it. How often one died.
    unsigned run_with(const std::string& plan, unsigned reads = 60) {
        SCOPED_TRACE(plan);
        fault::set_killer([](std::string_view) { throw died(); });
        fault::set_plan(plan);
        constexpr unsigned channels = 2;
        const journal_memory memory(channels);
        std::atomic<unsigned> deaths = 0;
        std::uint64_t twice = 0;
        {
            std::vector<std::thread> servers;
            std::vector<std::thread> drivers;
            std::mutex mutex;
            for (unsigned c = 0; c < channels; ++c) {
                auto ends = packet_pair();
                servers.emplace_back([&, c, device = std::move(ends.second)] {
                    for (;;) {
                        try {
                            (void)fuse_channel(device, the_image().map(), memory.get(), c).run();
                            return;
                        } catch (const died&) {
                            ++deaths;
                        }
                    }
                });
                drivers.emplace_back([&, c, driver = fuse_driver(std::move(ends.first))] {
                    std::mt19937 random(c);
                    std::map<std::uint64_t, std::pair<std::uint64_t, std::uint32_t>> open;
                    std::set<std::uint64_t> closed;
                    std::uint64_t unique = 1000 * (c + 1);
                    const auto take_one = [&] {
                        const auto a = driver.take();
                        ASSERT_TRUE(a) << "no answer";
                        EXPECT_EQ(a->error, 0);
                        const auto found = open.find(a->unique);
                        if (found == open.end()) {
                            EXPECT_EQ(closed.count(a->unique), 1u) << "an answer to nothing";
                            const std::lock_guard lock(mutex);
                            ++twice;
                            return;
                        }
                        EXPECT_EQ(a->body.size(), found->second.second);
                        EXPECT_TRUE(is_content(a->body, found->second.first));
                        closed.insert(a->unique);
                        open.erase(found);
                    };
                    for (unsigned i = 0; i < reads; ++i) {
                        while (open.size() >= 8) ASSERT_NO_FATAL_FAILURE(take_one());
                        const std::uint32_t sizes[] = {512, 4096, 32768, 131072};
                        const std::uint32_t length = sizes[random() % 4];
                        const std::uint64_t offset = random() % (image_size - length);
                        open[unique] = {offset, length};
                        driver.ask(fuse_read(unique, offset, length));
                        unique += 2;
                    }
                    while (!open.empty()) ASSERT_NO_FATAL_FAILURE(take_one());
                    driver.unmount();
                    while (const auto late = driver.take()) {
                        EXPECT_EQ(closed.count(late->unique), 1u);
                        const std::lock_guard lock(mutex);
                        ++twice;
                        if (late->unique == 0) break;
                    }
                });
            }
            for (std::thread& s : servers) s.join();
            for (std::thread& d : drivers) d.join();
        }
        EXPECT_LE(twice, deaths);
        if (plan.find("fuse.answered") == std::string::npos) {
            EXPECT_EQ(twice, 0u);
        }
        return deaths;
    }
};

TEST_F(fuse_takeover, without_a_death_all_is_right) {
    EXPECT_EQ(run_with(""), 0u);
}

TEST_F(fuse_takeover, at_each_point_the_nth_time_nothing_is_lost) {
    for (const std::string point : points)
        for (const char* nth : {"1", "2", "7", "31"}) EXPECT_EQ(run_with(point + ":kill:" + nth), 1u) << point << nth;
}

TEST_F(fuse_takeover, at_each_point_eight_times_in_a_row_nothing_is_lost) {
    for (const std::string point : points) {
        std::string plan;
        for (int i = 0; i < 8; ++i) plan += (i ? "," : "") + point + ":kill:1";
        EXPECT_EQ(run_with(plan), 8u) << point;
    }
}

TEST_F(fuse_takeover, of_a_server_that_dies_after_each_request_nothing_is_lost) {
    EXPECT_GE(run_with("fuse.done:kill:*"), 100u);
}

// Reads that wait for bytes, one death at each point on their way.
TEST_F(fuse_takeover, at_each_point_of_a_read_that_waits_it_is_answered_by_the_next) {
    for (const std::string plan : {"fuse.intake:kill:1", "fuse.intake:kill:3", "fuse.slot:kill:1", "fuse.slot:kill:3",
                                   "fuse.done:kill:1", "fuse.done:kill:3", "fuse.done:kill:5", "fuse.answer:kill:1",
                                   "fuse.answer:kill:2", "fuse.answered:kill:1", "fuse.answered:kill:3"}) {
        SCOPED_TRACE(plan);
        lazy_image image;
        const journal_memory memory(1);
        auto [theirs, device] = packet_pair();
        fuse_driver driver(std::move(theirs));
        fault::set_killer([](std::string_view) { throw died(); });
        fault::set_plan(plan);
        unsigned deaths = 0;
        std::thread server([&, fd = fd_ref(device)] {
            for (;;) {
                try {
                    (void)fuse_channel(fd, image.map(), memory.get(), 0, image.make_waiter()).run();
                    return;
                } catch (const died&) {
                    ++deaths;
                }
            }
        });
        constexpr std::uint64_t waiting = 4;
        for (std::uint64_t i = 0; i < waiting; ++i) driver.ask(fuse_read(10 + i, blob_size + i * chunk, chunk));
        std::set<std::uint64_t> asked;  // the successor asks again
        while (asked.size() < waiting)
            for (const auto& piece : image.told()) asked.insert(piece.offset);
        image.fill({0, waiting});
        std::set<std::uint64_t> got;
        while (got.size() < waiting) {
            const auto a = driver.take();
            ASSERT_TRUE(a);
            EXPECT_EQ(a->error, 0);
            EXPECT_TRUE(is_content(a->body, blob_size + (a->unique - 10) * chunk)) << a->unique;
            got.insert(a->unique);
        }
        driver.unmount();
        server.join();
        EXPECT_EQ(deaths, 1u);
        for (const request_slot& s : memory.get().connection(0).slots) EXPECT_EQ(s.state, slot_state::empty);
    }
}

#endif

}  // namespace
}  // namespace nerofs::serve
