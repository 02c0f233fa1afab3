// The real server process, killed under checksumming readers: at random moments, at each fault point, while it starts.
// The keeper starts another on the same sockets and journal; readers get right bytes and nobody sees more than a pause.
#include <algorithm>

#include "server_keeper.h"

namespace nerofs::serve {
namespace {

constexpr unsigned kills = sanitized ? 40 : 250;

void print_latencies(std::vector<std::chrono::nanoseconds> all) {
    std::sort(all.begin(), all.end());
    std::printf("%zu reads;", all.size());
    for (const double part : {0.5, 0.9, 0.99, 0.999, 1.0}) {
        const std::size_t i =
            std::min(all.size() - 1, static_cast<std::size_t>(part * static_cast<double>(all.size())));
        std::printf(" %g%% %.2f ms", part * 100, std::chrono::duration<double, std::milli>(all[i]).count());
    }
    std::printf("\n");
}

TEST(killed_server, hundreds_of_times_under_four_readers_costs_no_byte_no_error_and_no_socket) {
    server_keeper k(2);
    ASSERT_EQ(k.start(), "");
    std::mt19937 random(7);
    {
        checking_readers readers(k.kernel(), 4);
        for (unsigned i = 0; i < kills; ++i) {
            std::this_thread::sleep_for(std::chrono::microseconds(random() % 10000));
            ASSERT_EQ(k.kill_server(), "was killed by signal 9 (Killed)");
            ASSERT_EQ(k.start(), "");
        }
        // A sanitized server is hardly up before it is killed: what was asked meanwhile is answered by the last one.
        while (readers.done() <= kills && !readers.ended()) std::this_thread::sleep_for(1ms);
        readers.finish();
        EXPECT_GT(readers.done(), kills);
    }
    print_latencies(k.kernel().statistics().latencies);
    k.expect_flawless();
}

TEST(killed_server, while_it_starts_or_takes_over_costs_nothing_either) {
    server_keeper k(4);
    ASSERT_EQ(k.start(), "");
    std::mt19937 random(8);
    checking_readers readers(k.kernel(), 4);
    for (unsigned i = 0; i < (sanitized ? 10 : 60); ++i) {
        ASSERT_EQ(k.kill_server(), "was killed by signal 9 (Killed)");
        // Killed by another thread at some moment of its start; whether it had become ready doesn't matter.
        std::atomic<pid_t> victim = 0;
        std::jthread killer([&, delay = random() % 4000] {
            std::this_thread::sleep_for(std::chrono::microseconds(delay));
            if (victim != 0) ::kill(victim, SIGKILL);
        });
        auto ends = os::channel::make_pair().value();
        os::spawn_options options;
        options.program = NEROFS_BIN "/nerofs-server";
        options.arguments = {"nerofs-server"};
        options.fds = {ends.second.fd()};
        auto server = os::spawn(options);
        ASSERT_TRUE(server);
        victim = server->pid();
        (void)send_setup(ends.first, k.setup());
        killer.join();
        server->kill(SIGKILL);
        server->reap();
        ASSERT_EQ(k.start(), "");
    }
    readers.finish();
    k.expect_flawless();
}

TEST(killed_server, stopped_for_a_while_is_only_waited_for) {
    server_keeper k;
    ASSERT_EQ(k.start(), "");
    checking_readers readers(k.kernel(), 4);
    for (int i = 0; i < 3; ++i) {
        k.server().kill(SIGSTOP);
        std::this_thread::sleep_for(300ms);
        k.server().kill(i < 2 ? SIGCONT : SIGKILL);  // in the end killed while it is stopped
    }
    EXPECT_EQ(k.wait_for_death(), "was killed by signal 9 (Killed)");
    ASSERT_EQ(k.start(), "");
    readers.finish();
    k.expect_flawless();
}

#if NEROFS_FAULTS

// Runs readers while the server has that plan; its successors have none. How it ended.
std::string with_fault(const std::string& plan) {
    SCOPED_TRACE(plan);
    server_keeper k;
    std::string how = k.start(plan);
    const bool early = !how.empty();
    if (early) {
        EXPECT_EQ(k.start(), "");
    }
    checking_readers readers(k.kernel(), 4, 40);
    if (!early) {
        how = k.wait_for_death();
        EXPECT_EQ(k.start(), "");
    }
    while (!readers.ended()) std::this_thread::sleep_for(1ms);
    readers.finish();
    k.expect_flawless();
    return how;
}

class killed_server_at : public testing::TestWithParam<const char*> {};

TEST_P(killed_server_at, the_nth_time_has_a_successor_that_goes_on) {
    const std::string point = GetParam();
    for (const char* nth : {"1", "2", "4", "9"}) {
        if (point.starts_with("server.") && nth[0] != '1') break;  // it comes there once
        if (sanitized && nth[0] > '2') break;
        EXPECT_EQ(with_fault(point + ":kill:" + nth), "was killed by signal 9 (Killed)");
    }
}

INSTANTIATE_TEST_SUITE_P(each_point, killed_server_at,
                         testing::Values("server.start", "server.setup", "server.ready", "journal.intake",
                                         "journal.received", "journal.batch", "send.message", "send.between",
                                         "send.file", "journal.sent", "journal.done"),
                         [](const auto& p) {
                             std::string name = p.param;
                             std::replace(name.begin(), name.end(), '.', '_');
                             return name;
                         });

TEST(killed_server, inside_a_reply_has_a_successor_that_sends_the_rest) {
    for (const char* plan :
         {"send.message:limit:3:1,send.message:kill:3", "send.message:limit:3:16,send.message:kill:3",
          "send.message:limit:5:15,send.message:kill:5", "send.file:limit:2:4095,send.file:kill:2",
          "send.file:limit:1:65536,send.file:kill:1", "send.message:limit:*:3000,send.message:kill:20"})
        EXPECT_EQ(with_fault(plan), "was killed by signal 9 (Killed)");
}

// The end need not be a SIGKILL: a process that fails an assertion or is told to leave has the same successor.
TEST(killed_server, by_its_own_failure_has_a_successor_too) {
    EXPECT_EQ(with_fault("send.between:abort:3"), "was killed by signal 6 (Aborted)");
    EXPECT_EQ(with_fault("journal.batch:exit:3:9"), "exited with status 9");
}

#endif

}  // namespace
}  // namespace nerofs::serve
