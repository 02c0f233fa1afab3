// The real files, environment and helper programs, in a directory of the test's own.
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

#include "base/unique_fd.h"
#include "oci/credentials.h"
#include "support.h"

namespace nerofs::oci {
namespace {

using namespace std::chrono_literals;

class system_world_test : public testing::Test {
  protected:
    void SetUp() override {
        char name[] = "/tmp/nerofs-oci-XXXXXX";
        ASSERT_NE(::mkdtemp(name), nullptr);
        directory_ = name;
        path_ = ::getenv("PATH");
        ::setenv("PATH", ("relative:" + directory_ + ":" + path_).c_str(), 1);
        home_ = ::getenv("HOME") != nullptr ? ::getenv("HOME") : "";
    }
    void TearDown() override {
        ::setenv("PATH", path_.c_str(), 1);
        ::setenv("HOME", home_.c_str(), 1);
        std::filesystem::remove_all(directory_);
    }
    void write(const std::string& name, const std::string& content) const {
        std::ofstream(directory_ + "/" + name) << content;
    }
    void helper(const std::string& name, const std::string& script) const {
        write("docker-credential-" + name, "#!/bin/sh\n" + script + "\n");
        ::chmod((directory_ + "/docker-credential-" + name).c_str(), 0755);
    }
    std::string run(const std::string& name, const std::string& server,
                    std::chrono::milliseconds deadline = 20s) const {
        const auto answer = system_world(deadline)->run_helper(name, server);
        if (!answer) return answer.error().message();
        return (answer->succeeded ? "0 " : "failed ") + answer->output;
    }

    std::string directory_;
    std::string path_;
    std::string home_;
};

TEST_F(system_world_test, a_helper_gets_the_server_on_stdin_and_answers_on_stdout) {
    helper("echo", R"(printf '%s %s ' "$#" "$1"; cat; echo noise >&2)");
    EXPECT_EQ(run("echo", "https://index.docker.io/v1/"), "0 1 get https://index.docker.io/v1/");
    helper("fails", "echo 'credentials not found in native keychain'; exit 1");
    EXPECT_EQ(run("fails", "r.io"), "failed credentials not found in native keychain\n");
    helper("dies", "kill -9 $$");
    EXPECT_EQ(run("dies", "r.io"), "failed ");
    helper("reads_nothing", "exit 0");
    EXPECT_EQ(run("reads_nothing", std::string(4000, 'x')), "0 ");
}

TEST_F(system_world_test, it_inherits_no_descriptors) {
    const unique_fd stray(::dup2(2, 50));  // not close-on-exec, as a careless parent leaves them
    helper("fds", "ls /proc/self/fd | tr '\\n' ' '");
    EXPECT_EQ(run("fds", "r.io"), "0 0 1 2 3 ") << "3 is ls's own";
}

TEST_F(system_world_test, bounds) {
    helper("slow", "sleep 1000 & sleep 1000");
    const auto before = std::chrono::steady_clock::now();
    EXPECT_EQ(run("slow", "r.io", 100ms), "no answer within 100 ms");
    EXPECT_LT(std::chrono::steady_clock::now() - before, 10s);
    helper("loud", "exec yes");
    EXPECT_EQ(run("loud", "r.io"), "its answer is larger than 65.5 kB");
    helper("leaves", "sleep 5 & echo done");
    const auto start = std::chrono::steady_clock::now();
    EXPECT_EQ(run("leaves", "r.io"), "0 done\n") << "what it leaves behind doesn't keep us";
    EXPECT_LT(std::chrono::steady_clock::now() - start, 4s);
    EXPECT_EQ(run("loud", std::string(5000, 'x')), "the registry's name is too long");
}

TEST_F(system_world_test, what_cannot_be_run) {
    EXPECT_EQ(run("absent", "r.io"), "there is no such program in PATH");
    EXPECT_EQ(run("../evil", "r.io"), "is no name of a credential helper");
    write("docker-credential-text", "no program");
    EXPECT_EQ(run("text", "r.io"), "there is no such program in PATH") << "not executable";
    write("docker-credential-broken",
          "\x7f"
          "ELF");
    ::chmod((directory_ + "/docker-credential-broken").c_str(), 0755);
    EXPECT_EQ(run("broken", "r.io"), "cannot start '" + directory_ + "/docker-credential-broken': Exec format error");
}

TEST_F(system_world_test, files_and_variables) {
    const auto world = system_world();
    write("file", "content");
    EXPECT_EQ(*world->read_file(directory_ + "/file", 7), "content");
    EXPECT_EQ(world->read_file(directory_ + "/file", 6).error().kind, error_kind::corrupt);
    EXPECT_EQ(world->read_file(directory_ + "/absent", 6).error().kind, error_kind::not_found);
    ::setenv("HOME", "/somewhere", 1);
    EXPECT_EQ(world->home(), "/somewhere");
    ::unsetenv("HOME");
    EXPECT_TRUE(world->home().starts_with('/')) << "from /etc/passwd";
    ::setenv("HOME", "", 1);
    EXPECT_FALSE(world->variable("HOME"));
    EXPECT_EQ(world->user_id(), ::geteuid());
}

TEST_F(system_world_test, all_together) {
    ::setenv("HOME", directory_.c_str(), 1);
    const char* const docker_config = ::getenv("DOCKER_CONFIG");
    if (docker_config != nullptr) GTEST_SKIP() << "DOCKER_CONFIG is set";
    std::filesystem::create_directory(directory_ + "/.docker");
    write(".docker/config.json", R"({"credHelpers":{"r.io":"static"}})");
    helper("static", R"(read server; echo "{\"ServerURL\":\"$server\",\"Username\":\"me\",\"Secret\":\"s3\"}")");
    const auto world = system_world();
    const auto image = *parse_reference("r.io/x");
    const auto found = find_credential(image, {}, *world);
    ASSERT_TRUE(found) << message_of(found);
    ASSERT_TRUE(found->value) << (found->passed_over.empty() ? "" : found->passed_over[0]);
    EXPECT_EQ(found->value->username, "me");
    EXPECT_EQ(found->value->password.reveal(), "s3");
    EXPECT_EQ(found->origin, (credential_origin{credential_kind::helper, "static", ""}));
    const auto again = find_again(image, found->origin, *world);
    ASSERT_TRUE(again && again->value);
    EXPECT_EQ(again->value->password.reveal(), "s3");
}

}  // namespace
}  // namespace nerofs::oci
