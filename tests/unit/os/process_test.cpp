#include "os/process.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "os/channel.h"
#include "os/shared_memory.h"

namespace nerofs::os {
namespace {

using namespace std::chrono_literals;

spawn_options shell(const std::string& script) {
    spawn_options options;
    options.program = "/bin/sh";
    options.arguments = {"sh", "-c", script};
    options.environment = {"GIVEN=yes"};
    return options;
}

std::string end_of(process& p) {
    EXPECT_TRUE(wait_readable(p.pidfd(), in_time(20s)));
    return p.reap();
}

TEST(process, tells_how_it_ended) {
    auto exited = spawn(shell("exit 3"));
    ASSERT_TRUE(exited);
    EXPECT_EQ(end_of(*exited), "exited with status 3");
    auto killed = spawn(shell("sleep 60"));
    ASSERT_TRUE(killed);
    killed->kill(SIGKILL);
    EXPECT_EQ(end_of(*killed), "was killed by signal 9 (Killed)");
}

TEST(process, a_program_that_is_not_there_is_an_error_and_leaves_no_zombie) {
    spawn_options options;
    options.program = "/nonexistent/program";
    options.arguments = {"x"};
    const auto child = spawn(options);
    ASSERT_FALSE(child);
    EXPECT_EQ(child.error().text, "cannot start '/nonexistent/program': No such file or directory");
    EXPECT_EQ(::waitpid(-1, nullptr, WNOHANG), -1);
    EXPECT_EQ(errno, ECHILD);
}

TEST(process, a_child_has_the_named_descriptors_from_3_on_and_no_others_and_only_the_given_environment) {
    int ends[2];
    ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
    const unique_fd in(ends[0]);
    unique_fd out(ends[1]);
    const unique_fd leaked(::open("/dev/null", O_RDONLY));  // not close-on-exec, on purpose
    // The shell's own list of descriptors: 0, 1, 2, ours as 3 and what ls itself opens.
    spawn_options options =
        shell("ls /proc/self/fd | wc -l >&3; echo \"$GIVEN $HOME\" >&3; cut -d' ' -f6 /proc/$$/stat >&3; echo $$ >&3");
    options.fds = {out};
    auto child = spawn(options);
    ASSERT_TRUE(child);
    out.reset();
    const pid_t pid = child->pid();
    EXPECT_EQ(end_of(*child), "exited with status 0");
    char text[256] = {};
    ASSERT_GT(::read(in.get(), text, sizeof text - 1), 0);
    EXPECT_EQ(std::string(text), "5\nyes \n" + std::to_string(pid) + "\n" + std::to_string(pid) + "\n")
        << "its own session";
}

TEST(process, root_can_start_one_without_privileges) {
    if (::geteuid() != 0) GTEST_SKIP() << "needs root";
    int ends[2];
    ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
    const unique_fd in(ends[0]);
    unique_fd out(ends[1]);
    spawn_options options = shell("id -u; id -G; grep -E '^(CapEff|NoNewPrivs)' /proc/self/status; ulimit -s");
    options.arguments[2] = "{ " + options.arguments[2] + "; } >&3";
    options.fds = {out};
    options.run_as = identity{65534, 65534};
    options.lockable_memory = true;
    auto child = spawn(options);
    ASSERT_TRUE(child);
    out.reset();
    EXPECT_EQ(end_of(*child), "exited with status 0");
    char text[512] = {};
    ASSERT_GT(::read(in.get(), text, sizeof text - 1), 0);
    EXPECT_EQ(std::string(text), "65534\n65534\nCapEff:\t0000000000000000\nNoNewPrivs:\t1\n256\n");
}

TEST(process, watching_one_that_is_gone_is_not_found) {
    auto child = spawn(shell("exit 0"));
    ASSERT_TRUE(child);
    const pid_t pid = child->pid();
    end_of(*child);
    EXPECT_EQ(process::watch(pid).error().kind, error_kind::not_found);
    EXPECT_TRUE(process::watch(::getpid()));
}

TEST(process, an_identity_without_a_user_of_that_name_is_nobody) {
    EXPECT_EQ(unprivileged_identity("no-such-user-of-nerofs").uid, 65534u);
    EXPECT_EQ(unprivileged_identity("root").uid, 65534u) << "never root";
    EXPECT_EQ(unprivileged_identity("daemon").uid, 1u);
}

TEST(shared_memory, is_of_that_size_for_ever) {
    const auto memory = make_memfd("test", 8192);
    ASSERT_TRUE(memory);
    EXPECT_EQ(*file_size(*memory), 8192u);
    EXPECT_NE(::ftruncate(memory->get(), 0), 0);
    const auto one = mapping::map(*memory, 8192, true);
    const auto two = mapping::map(*memory, 8192, false);
    ASSERT_TRUE(one && two);
    static_cast<char*>(one->data())[8191] = 'x';
    EXPECT_EQ(static_cast<const char*>(two->data())[8191], 'x');
}

}  // namespace
}  // namespace nerofs::os
