#include "os/process.h"

#include <fcntl.h>
#include <grp.h>
#include <linux/close_range.h>
#include <linux/prctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <csignal>
#include <cstdio>
#include <cstring>

#include "os/files.h"

#ifndef PR_SET_IO_FLUSHER
#define PR_SET_IO_FLUSHER 57  // Linux 5.6, <linux/prctl.h>
#endif

namespace nerofs::os {
namespace {

constexpr int first_fd = 3;
// Large enough for a thread of ours, small enough to be locked in memory many times over.
constexpr rlim_t small_stack_bytes = 256 * 1024;

int pidfd_open(pid_t pid) {
    return static_cast<int>(::syscall(SYS_pidfd_open, pid, 0));
}

std::vector<char*> pointers(const std::vector<std::string>& texts) {
    std::vector<char*> list;
    list.reserve(texts.size() + 1);
    for (const std::string& text : texts) list.push_back(const_cast<char*>(text.c_str()));
    list.push_back(nullptr);
    return list;
}

// In the child, between fork and exec: only async-signal-safe calls. Returns an errno.
int become(const spawn_options& options, std::vector<int>& fds) {
    // Moved above the targets first, so that no dup2 overwrites one that is still needed.
    const int above = first_fd + static_cast<int>(fds.size()) + 1;
    for (int& fd : fds) {
        fd = ::fcntl(fd, F_DUPFD_CLOEXEC, above);
        if (fd < 0) return errno;
    }
    for (std::size_t i = 0; i < fds.size(); ++i)
        if (::dup2(fds[i], first_fd + static_cast<int>(i)) < 0) return errno;

    if (options.new_session) ::setsid();
    if (options.lockable_memory) {
        const rlimit unlimited{RLIM_INFINITY, RLIM_INFINITY};
        ::setrlimit(RLIMIT_MEMLOCK, &unlimited);  // best effort: an unlocked server works, too
        rlimit stack{};
        if (::getrlimit(RLIMIT_STACK, &stack) == 0) {
            stack.rlim_cur = std::min(stack.rlim_max, small_stack_bytes);
            ::setrlimit(RLIMIT_STACK, &stack);
        }
    }
    if (options.run_as) {
        if (::geteuid() == 0 && ::setgroups(0, nullptr) != 0) return errno;
        if (::setresgid(options.run_as->gid, options.run_as->gid, options.run_as->gid) != 0) return errno;
        if (::setresuid(options.run_as->uid, options.run_as->uid, options.run_as->uid) != 0) return errno;
        if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return errno;
        const rlimit no_core{0, 0};
        ::setrlimit(RLIMIT_CORE, &no_core);
    }
    for (int signal = 1; signal < NSIG; ++signal)
        if (signal != SIGPIPE) ::signal(signal, SIG_DFL);
    sigset_t none;
    sigemptyset(&none);
    ::sigprocmask(SIG_SETMASK, &none, nullptr);
    return 0;
}

}  // namespace

result<process> process::watch(pid_t pid) {
    unique_fd pidfd(pidfd_open(pid));
    if (!pidfd) {
        error e = errno_error("pidfd_open");
        if (e.code == ESRCH) e.kind = error_kind::not_found;
        return fail(std::move(e));
    }
    return process(pid, std::move(pidfd));
}

void process::kill(int signal) const {
    if (pidfd_) ::syscall(SYS_pidfd_send_signal, pidfd_.get(), signal, nullptr, 0);
}

std::string process::reap() {
    siginfo_t info{};
    int n;
    do n = ::waitid(static_cast<idtype_t>(3 /* P_PIDFD */), static_cast<id_t>(pidfd_.get()), &info, WEXITED);
    while (n != 0 && errno == EINTR);
    pidfd_.reset();
    pid_ = 0;
    if (n != 0) return "ended";
    if (info.si_code == CLD_EXITED) return "exited with status " + std::to_string(info.si_status);
    return "was killed by signal " + std::to_string(info.si_status) + " (" + ::strsignal(info.si_status) + ")";
}

result<process> spawn(const spawn_options& options) {
    int pipe_ends[2];
    if (::pipe2(pipe_ends, O_CLOEXEC) != 0) return fail_errno("pipe");
    unique_fd report_in(pipe_ends[0]);
    unique_fd report_out(pipe_ends[1]);

    const std::vector<char*> argv = pointers(options.arguments);
    const std::vector<char*> envp = pointers(options.environment);
    std::vector<int> fds;
    for (const fd_ref fd : options.fds) fds.push_back(fd.get());
    fds.push_back(report_out.get());

    const pid_t pid = ::fork();
    if (pid < 0) return fail_errno("fork");
    if (pid == 0) {
        // The report pipe is the last of `fds`; it stays close-on-exec, so a successful exec closes it.
        if (options.quiet) {
            const int null = ::open("/dev/null", O_RDWR | O_CLOEXEC);
            ::dup2(null, STDOUT_FILENO);
            ::dup2(null, STDERR_FILENO);
            ::close(null);
        }
        int code = become(options, fds);
        const int report = first_fd + static_cast<int>(fds.size()) - 1;
        if (code == 0) {
            ::syscall(SYS_close_range, static_cast<unsigned>(report) + 1, ~0u, 0);
            ::fcntl(report, F_SETFD, FD_CLOEXEC);
            ::execve(options.program.c_str(), argv.data(), envp.data());
            code = errno;
        }
        (void)!::write(report, &code, sizeof code);
        ::_exit(127);
    }
    report_out.reset();
    process child(pid, unique_fd(pidfd_open(pid)));
    int code = 0;
    ssize_t n;
    do n = ::read(report_in.get(), &code, sizeof code);
    while (n < 0 && errno == EINTR);
    if (n == static_cast<ssize_t>(sizeof code)) {
        child.reap();
        return fail(errno_error(code, "cannot start '" + options.program + "'"));
    }
    if (!child) {
        ::kill(pid, SIGKILL);
        ::waitpid(pid, nullptr, 0);
        return fail(error_kind::unsupported, "cannot watch a process: the kernel has no pidfd_open", ENOSYS);
    }
    return child;
}

identity unprivileged_identity(const std::string& name) {
    identity found{65534, 65534};
    const auto content = read_small_file("/etc/passwd", 1 << 20);
    if (!content) return found;
    std::string_view rest = *content;
    while (!rest.empty()) {
        std::string_view line = rest.substr(0, rest.find('\n'));
        rest.remove_prefix(std::min(rest.size(), line.size() + 1));
        if (!line.starts_with(name + ":")) continue;
        std::vector<std::string_view> fields;
        for (std::size_t colon; (colon = line.find(':')) != std::string_view::npos; line.remove_prefix(colon + 1))
            fields.push_back(line.substr(0, colon));
        identity parsed;
        if (fields.size() >= 4 &&
            std::from_chars(fields[2].data(), fields[2].data() + fields[2].size(), parsed.uid).ec == std::errc() &&
            std::from_chars(fields[3].data(), fields[3].data() + fields[3].size(), parsed.gid).ec == std::errc() &&
            parsed.uid != 0)
            return parsed;
    }
    return found;
}

void protect_from_reclaim() {
    ::prctl(PR_SET_IO_FLUSHER, 1, 0, 0, 0);
    if (const auto file = open_file("/proc/self/oom_score_adj", O_WRONLY)) (void)!::write(file->get(), "-1000", 5);
}

status detach(fd_ref log) {
    ::setsid();  // fails only for a group leader, which already left the caller's session by being started so
    NEROFS_TRY(const unique_fd null, open_file("/dev/null", O_RDWR));
    const int out = log ? log.get() : null.get();
    if (::dup2(null.get(), 0) < 0 || ::dup2(out, 1) < 0 || ::dup2(out, 2) < 0) return fail_errno("dup2");
    ::umask(077);
    if (::chdir("/") != 0) return fail_errno("chdir /");
    return {};
}

void close_other_fds(std::vector<int> keep) {
    std::sort(keep.begin(), keep.end());
    unsigned from = first_fd;
    for (const int fd : keep) {
        if (static_cast<unsigned>(fd) < from) continue;
        if (static_cast<unsigned>(fd) > from) ::syscall(SYS_close_range, from, static_cast<unsigned>(fd) - 1, 0);
        from = static_cast<unsigned>(fd) + 1;
    }
    ::syscall(SYS_close_range, from, ~0u, 0);
}

void ignore_sigpipe() {
    ::signal(SIGPIPE, SIG_IGN);
}

}  // namespace nerofs::os
