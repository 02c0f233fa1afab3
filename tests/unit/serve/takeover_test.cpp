// Takeovers under load, in one process: the stand-in for the kernel drives connections that die at each fault point,
// and others on the same sockets and journal go on. Every read is right, and the kernel never sees that anything
// happened.
#include <algorithm>
#include <array>
#include <atomic>
#include <random>

#include "base/fault.h"
#include "serve/connection.h"
#include "support.h"
#include "support/kernel_client/kernel_client.h"

namespace nerofs::serve {
namespace {

#if NEROFS_FAULTS

constexpr std::uint64_t image_size = 8u << 20;
constexpr unsigned sockets = 2;
constexpr unsigned readers = 4;

const image& the_image() {
    static const image instance(image_size);
    return instance;
}
const bytes& reference() {
    static const bytes all = content(0, image_size);
    return all;
}

// Thrown where a process would die; nothing on its way cleans up.
struct died {};

struct load {
    unsigned reads = 40;  // of each reader
    std::vector<std::uint32_t> sizes = {512, 4096, 4096, 32768, 65536, 131072, 1u << 20};
};

class takeover : public testing::Test {
  protected:
    void TearDown() override {
        fault::set_killer(nullptr);
        fault::set_plan("");
    }

    // Readers with that load while the plan is in force; how often a connection died.
    unsigned run_with(const std::string& plan, const load& what = {}) {
        SCOPED_TRACE(plan);
        const image_map& map = the_image().map();
        const bytes& right = reference();
        fault::set_killer([](std::string_view) { throw died(); });
        fault::set_plan(plan);

        const journal_memory memory(sockets);
        std::vector<unique_fd> theirs;
        std::array<unique_fd, sockets> ours;
        for (unique_fd& end : ours) {
            auto ends = socket_pair();
            end = std::move(ends.first);
            theirs.push_back(std::move(ends.second));
        }
        test::kernel_client kernel(std::move(theirs), image_size, {.disconnect_pause = std::chrono::seconds(20)});
        std::atomic<unsigned> deaths = 0;
        std::array<connection_end, sockets> ends{};
        std::vector<std::jthread> servers;
        for (unsigned i = 0; i < sockets; ++i) {
            servers.emplace_back([&, i] {
                for (;;) {
                    try {
                        ends[i] = connection(ours[i], map, memory.get(), i, {}).run();
                        return;
                    } catch (const died&) {
                        ++deaths;
                    }
                }
            });
        }
        std::atomic<unsigned> wrong = 0;
        std::atomic<unsigned> failed = 0;
        {
            std::vector<std::jthread> all;
            for (unsigned r = 0; r < readers; ++r) {
                all.emplace_back([&, r] {
                    std::mt19937 random(r);
                    for (unsigned i = 0; i < what.reads; ++i) {
                        const std::uint32_t length = what.sizes[random() % what.sizes.size()];
                        const std::uint64_t offset = random() % (image_size - length) / 512 * 512;
                        const auto got = kernel.read(offset, length);
                        if (!got)
                            ++failed;
                        else if (std::memcmp(got->data(), right.data() + offset, length) != 0)
                            ++wrong;
                    }
                });
            }
        }
        kernel.disconnect();
        servers.clear();
        EXPECT_EQ(wrong, 0u);
        EXPECT_EQ(failed, 0u);
        for (const auto& v : kernel.violations()) ADD_FAILURE() << v.text;
        const auto s = kernel.statistics();
        EXPECT_EQ(s.reads, readers * what.reads);
        EXPECT_EQ(s.sent, s.reads) << "a request was sent again";
        EXPECT_EQ(s.deaths, 0u) << "a socket died";
        EXPECT_EQ(s.cut_replies, 0u);
        EXPECT_EQ(s.timeouts, 0u);
        for (const connection_end end : ends) EXPECT_EQ(end, connection_end::disconnect);
        std::uint64_t counted = 0;
        for (unsigned i = 0; i < sockets; ++i) counted += memory.get().connection(i).requests;
        EXPECT_EQ(counted, s.reads) << "a request was taken twice";
        return deaths;
    }
};

const char* const points[] = {"journal.intake", "journal.received", "journal.batch", "send.message",
                              "send.between",   "send.file",        "journal.sent",  "journal.done"};

TEST_F(takeover, without_a_death_all_is_right) {
    EXPECT_EQ(run_with(""), 0u);
}

TEST_F(takeover, at_each_point_the_nth_time_it_is_come_to_nothing_is_lost_or_doubled) {
    const std::vector<unsigned> times = sanitized ? std::vector{1u, 5u} : std::vector{1u, 2u, 5u, 13u};
    for (const std::string point : points)
        for (const unsigned nth : times)
            EXPECT_EQ(run_with(point + ":kill:" + std::to_string(nth)), 1u) << point << " " << nth;
}

// The successor dies there, too, and the one after it: eight in a row, as each entry of a plan counts what the entries
// before it let pass.
TEST_F(takeover, at_each_point_eight_times_in_a_row_nothing_is_lost_or_doubled) {
    for (const std::string point : points) {
        for (const std::string nth : {"1", "6"}) {
            std::string plan;
            for (int i = 0; i < 8; ++i) plan += (i ? "," : "") + point + ":kill:" + nth;
            EXPECT_EQ(run_with(plan, {.reads = 30}), 8u) << point;
        }
    }
}

// All servers die there. (The others of the points lie before any progress, so nothing would ever be answered.)
TEST_F(takeover, at_each_point_each_time_nothing_is_lost_or_doubled) {
    for (const std::string point : points) {
        if (point == "journal.received" || point == "send.between" || point == "journal.sent") continue;
        EXPECT_GT(run_with(point + ":kill:*", {.reads = 30}), 5u) << point;
    }
}

TEST_F(takeover, at_two_points_in_turn) {
    for (const std::string first : points) {
        for (const std::string second : {"journal.received", "send.message", "send.file", "journal.sent"}) {
            if (first == second) continue;
            EXPECT_GE(run_with(first + ":kill:2," + second + ":kill:3," + first + ":kill:4", {.reads = 25}), 2u);
        }
    }
}

// A call that sends only so many bytes and then death: inside the 16 bytes of a header, at its end, at the end of a
// reply, within data, within a page.
TEST_F(takeover, inside_a_reply_at_any_byte) {
    const std::vector<const char*> cuts = sanitized ? std::vector{"2"} : std::vector{"1", "4"};
    for (const char* bytes : {"1", "7", "8", "15", "16", "17", "511", "512", "513", "4095", "4096", "4111"})
        for (const char* nth : cuts)
            EXPECT_EQ(run_with(std::string("send.message:limit:") + nth + ":" + bytes + ",send.message:kill:" + nth,
                               {.reads = 25}),
                      1u)
                << bytes;
    for (const char* bytes : {"1", "511", "4095", "4096", "4097", "65535", "65536"})
        for (const char* nth : cuts)
            EXPECT_EQ(
                run_with(std::string("send.file:limit:") + nth + ":" + bytes + ",send.file:kill:" + nth, {.reads = 25}),
                1u)
                << bytes;
}

// Every call sends little, and each is the last of its process.
TEST_F(takeover, when_every_call_is_cut_and_kills) {
    const load small{.reads = 12, .sizes = {512, 4096, 65536}};
    EXPECT_GT(run_with("send.message:limit:*:100,send.message:kill:*,send.file:limit:*:3001,send.file:kill:*", small),
              100u);
    EXPECT_GT(run_with("send.message:limit:*:5,send.message:kill:*", {.reads = 12, .sizes = {512}}), 50u);
    EXPECT_EQ(run_with("send.message:limit:*:5,send.file:limit:*:1000", small), 0u);
}

// Large replies go by copy from then on, also those that were begun by file.
TEST_F(takeover, when_copies_take_the_place_of_files_inside_a_reply) {
    const journal_memory memory(1);
    auto [ours, theirs] = socket_pair();
    const client c(std::move(theirs));
    fault::set_killer([](std::string_view) { throw died(); });
    fault::set_plan("send.file:limit:1:30000,send.file:kill:1");
    c.ask(nbd::cmd::read, 1, 512, 100000);
    EXPECT_THROW(connection(ours, the_image().map(), memory.get(), 0, {}).run(), died);
    memory.get().header().copy_only = 1;
    c.no_more_requests();
    widen(ours);
    EXPECT_EQ(connection(ours, the_image().map(), memory.get(), 0, {}).run(), connection_end::closed);
    c.expect_read(1, 512, 100000);
    c.expect_end();
}

// The header had been promised by the dead one, and the bytes are gone: the socket is cut, never filled up.
TEST_F(takeover, when_the_rest_of_a_begun_reply_is_gone_the_socket_is_cut) {
    for (const bool copy_only : {false, true}) {
        const image i(1u << 20);
        const journal_memory memory(1);
        memory.get().header().copy_only = copy_only;
        auto [ours, theirs] = socket_pair();
        const client c(std::move(theirs));
        fault::set_killer([](std::string_view) { throw died(); });
        fault::set_plan(copy_only ? "send.message:limit:1:9,send.message:kill:1"
                                  : "send.file:limit:1:30000,send.file:kill:1");
        c.ask(nbd::cmd::read, 1, 0, 100000);
        EXPECT_THROW(connection(ours, i.map(), memory.get(), 0, {}).run(), died);
        i.truncate(50000);
        EXPECT_EQ(connection(ours, i.map(), memory.get(), 0, {}).run(), connection_end::cut);
        const bytes got = c.take_all();
        EXPECT_LE(got.size(), 16u + 50000u);
        EXPECT_TRUE(is_content(std::span(got).subspan(std::min<std::size_t>(16, got.size())), 0));
    }
}

// Nothing of it had been sent: it can still be refused.
TEST_F(takeover, when_the_bytes_of_a_reply_that_was_not_begun_are_gone_it_is_eio) {
    const image i(1u << 20);
    const journal_memory memory(1);
    auto [ours, theirs] = socket_pair();
    const client c(std::move(theirs));
    fault::set_killer([](std::string_view) { throw died(); });
    fault::set_plan("journal.batch:kill:1");
    c.ask(nbd::cmd::read, 1, 90000, 4096);
    EXPECT_THROW(connection(ours, i.map(), memory.get(), 0, {}).run(), died);
    i.truncate(50000);
    c.no_more_requests();
    EXPECT_EQ(connection(ours, i.map(), memory.get(), 0, {}).run(), connection_end::closed);
    c.expect_reply(1, nbd::error_value::eio);
    c.expect_end();
}

TEST_F(takeover, is_counted) {
    const journal_memory memory(1);
    auto [ours, theirs] = socket_pair();
    const client c(std::move(theirs));
    fault::set_killer([](std::string_view) { throw died(); });
    fault::set_plan("journal.received:kill:1");
    c.ask(nbd::cmd::read, 1, 0, 512);
    c.no_more_requests();
    EXPECT_THROW(connection(ours, the_image().map(), memory.get(), 0, {}).run(), died);
    EXPECT_EQ(connection(ours, the_image().map(), memory.get(), 0, {}).run(), connection_end::closed);
    EXPECT_EQ(memory.get().connection(0).takeovers, 1u);
    EXPECT_EQ(memory.get().connection(0).requests, 1u);
    EXPECT_EQ(memory.get().connection(0).reply_bytes, 16u + 512u);
}

#else

TEST(takeover, at_each_point) {
    GTEST_SKIP() << "built without NEROFS_FAULTS";
}

#endif

}  // namespace
}  // namespace nerofs::serve
