// The real environment, files and helper programs.
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <new>
#include <utility>

#include "oci/credentials.h"
#include "oci/text.h"
#include "os/channel.h"
#include "os/files.h"
#include "os/process.h"

namespace nerofs::oci {
namespace {

struct pipe_ends {
    unique_fd in;   // to read from
    unique_fd out;  // to write to
};

result<pipe_ends> make_pipe() {
    int fds[2];
    if (::pipe2(fds, O_CLOEXEC) != 0) return fail_errno("pipe");
    return pipe_ends{unique_fd(fds[0]), unique_fd(fds[1])};
}

// The helper's session is its process group, so that what it started goes with it.
class helper_process {
  public:
    helper_process(pid_t pid, os::process watched) : pid_(pid), process_(std::move(watched)) {}
    helper_process(const helper_process&) = delete;
    ~helper_process() {
        if (!process_) return;
        ::kill(-pid_, SIGKILL);
        process_.reap();
    }
    fd_ref pidfd() const { return process_.pidfd(); }
    // Waits for the end, which has been seen. Whether the exit status was 0.
    bool succeeded() { return process_.reap() == "exited with status 0"; }

  private:
    pid_t pid_;
    os::process process_;
};

// The first executable file of that name in PATH. Relative directories don't count.
std::string find_program(const std::string& name) {
    const char* const path = ::getenv("PATH");
    std::string_view rest = path != nullptr ? path : "/usr/local/bin:/usr/bin:/bin";
    while (!rest.empty()) {
        const std::string_view directory = rest.substr(0, rest.find(':'));
        rest.remove_prefix(std::min(rest.size(), directory.size() + 1));
        if (!directory.starts_with('/')) continue;
        std::string program = std::string(directory) + "/" + name;
        if (::access(program.c_str(), X_OK) == 0) return program;
    }
    return {};
}

// Starts it with `in` as stdin and `out` as stdout; stderr goes nowhere.
result<pid_t> start(const std::string& program, fd_ref in, fd_ref out) {
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    if (::posix_spawn_file_actions_init(&actions) != 0) throw std::bad_alloc();
    if (::posix_spawnattr_init(&attributes) != 0) throw std::bad_alloc();
    sigset_t none;
    sigset_t all;
    sigemptyset(&none);
    sigfillset(&all);
    pid_t pid = 0;
    char* const argv[] = {const_cast<char*>(program.c_str()), const_cast<char*>("get"), nullptr};
    int failed =
        ::posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    if (failed == 0) failed = ::posix_spawnattr_setsigmask(&attributes, &none);
    if (failed == 0) failed = ::posix_spawnattr_setsigdefault(&attributes, &all);
    if (failed == 0) failed = ::posix_spawn_file_actions_adddup2(&actions, in.get(), 0);
    if (failed == 0) failed = ::posix_spawn_file_actions_adddup2(&actions, out.get(), 1);
    if (failed == 0) failed = ::posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0);
    if (failed == 0) failed = ::posix_spawn_file_actions_addclosefrom_np(&actions, 3);
    if (failed == 0) failed = ::posix_spawn(&pid, program.c_str(), &actions, &attributes, argv, environ);
    ::posix_spawn_file_actions_destroy(&actions);
    ::posix_spawnattr_destroy(&attributes);
    if (failed != 0) return fail(errno_error(failed, "cannot start " + quoted(program)));
    return pid;
}

// What there is to read now. True at the end of the file.
result<bool> read_some(fd_ref from, std::string& into) {
    while (true) {
        char buffer[4096];
        const ssize_t n = ::read(from.get(), buffer, sizeof buffer);
        if (n == 0) return true;
        if (n < 0 && errno == EINTR) continue;
        if (n < 0 && errno == EAGAIN) return false;
        if (n < 0) return fail_errno("read");
        into.append(buffer, static_cast<std::size_t>(n));
        ::explicit_bzero(buffer, sizeof buffer);
        if (into.size() > helper_answer_cap)
            return fail(error_kind::corrupt, "its answer is larger than " + size_text(helper_answer_cap));
    }
}

// Reads until the helper has ended; what it left running may still hold the other end of the pipe.
status read_answer(fd_ref from, fd_ref pidfd, std::string& into, os::deadline until) {
    if (::fcntl(from.get(), F_SETFL, O_NONBLOCK) != 0) return fail_errno("fcntl");
    while (true) {
        const std::array both{from, pidfd};
        NEROFS_CHECK(os::wait_readable(both, until));
        const bool over = os::wait_readable(pidfd, os::deadline::clock::now()).has_value();
        NEROFS_TRY(const bool at_end, read_some(from, into));
        if (over) return {};
        if (at_end) return os::wait_readable(pidfd, until);
    }
}

// The user's home in /etc/passwd. The file itself is read, as in os/process: name services may hang.
std::string passwd_home(unsigned uid) {
    const auto content = os::read_small_file("/etc/passwd", 1 << 20);
    if (!content) return {};
    std::string_view rest = *content;
    while (!rest.empty()) {
        std::string_view line = rest.substr(0, rest.find('\n'));
        rest.remove_prefix(std::min(rest.size(), line.size() + 1));
        std::string_view fields[6];
        for (std::string_view& field : fields) {
            field = line.substr(0, line.find(':'));
            line.remove_prefix(std::min(line.size(), field.size() + 1));
        }
        if (fields[2] == std::to_string(uid)) return std::string(fields[5]);
    }
    return {};
}

class real_world : public credential_world {
  public:
    explicit real_world(std::chrono::milliseconds helper_deadline) : helper_deadline_(helper_deadline) {}

    std::optional<std::string> variable(const std::string& name) const override {
        const char* const value = ::getenv(name.c_str());
        if (value == nullptr || *value == '\0') return std::nullopt;
        return value;
    }

    std::string home() const override {
        if (auto set = variable("HOME")) return *set;
        return passwd_home(user_id());
    }

    unsigned user_id() const override { return ::geteuid(); }

    result<std::string> read_file(const std::string& path, std::size_t most) const override {
        return os::read_small_file(path, most);
    }

    result<helper_run> run_helper(const std::string& name, const std::string& server) const override {
        if (!is_helper_name(name)) return fail(error_kind::usage, "is no name of a credential helper");
        const std::string program = find_program("docker-credential-" + name);
        if (program.empty()) return fail(error_kind::not_found, "there is no such program in PATH", ENOENT);
        NEROFS_TRY(pipe_ends question, make_pipe());
        NEROFS_TRY(pipe_ends answer, make_pipe());
        // A pipe takes this much without a reader, so neither a slow nor a dead helper matters here.
        if (server.size() > 4096) return fail(error_kind::usage, "the registry's name is too long");
        if (::write(question.out.get(), server.data(), server.size()) != static_cast<ssize_t>(server.size()))
            return fail_errno("write");
        question.out.reset();
        const os::deadline until = os::in_time(helper_deadline_);
        NEROFS_TRY(const pid_t pid, start(program, question.in, answer.out));
        question.in.reset();
        answer.out.reset();
        auto watched = os::process::watch(pid);
        if (!watched) {
            ::kill(-pid, SIGKILL);
            ::waitpid(pid, nullptr, 0);
            return fail(std::move(watched).error());
        }
        helper_process helper(pid, std::move(*watched));
        helper_run run;
        const status done = read_answer(answer.in, helper.pidfd(), run.output, until);
        if (!done) {
            wipe(run.output);
            if (done.error().kind == error_kind::timeout)
                return fail(error_kind::timeout,
                            "no answer within " + std::to_string(helper_deadline_.count()) + " ms");
            return fail(done.error());
        }
        run.succeeded = helper.succeeded();
        return run;
    }

  private:
    std::chrono::milliseconds helper_deadline_;
};

}  // namespace

std::unique_ptr<credential_world> system_world(std::chrono::milliseconds helper_deadline) {
    return std::make_unique<real_world>(helper_deadline);
}

}  // namespace nerofs::oci
