// count_opens RESULT FILE COMMAND [ARG]...: runs a command, and writes into RESULT how often FILE was opened meanwhile,
// by anybody; below that, a line for each open with the name of the process where it is known. Exits as the command
// does.
//
// A regular file is watched by fanotify's permission events, which are never merged. A device node is not: for that the
// kernel would have to hand it over opened. inotify merges opens that follow each other closely: enough to tell none
// from some.
#include <fcntl.h>
#include <poll.h>
#include <sys/fanotify.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

namespace {

[[noreturn]] void fail(const std::string& what) {
    std::fprintf(stderr, "count_opens: %s: %s\n", what.c_str(), std::strerror(errno));
    std::exit(125);
}

std::string name_of(pid_t pid) {
    std::ifstream file("/proc/" + std::to_string(pid) + "/comm");
    std::string name;
    std::getline(file, name);
    return name.empty() ? "?" : name;
}

class watch {
  public:
    explicit watch(const char* path) {
        struct stat found {};
        if (::stat(path, &found) != 0) fail(path);
        exact_ = S_ISREG(found.st_mode);
        if (exact_) {
            fd_ = ::fanotify_init(FAN_CLASS_CONTENT | FAN_CLOEXEC, O_RDONLY | O_CLOEXEC);
            if (fd_ < 0 || ::fanotify_mark(fd_, FAN_MARK_ADD, FAN_OPEN_PERM, AT_FDCWD, path) != 0) fail("fanotify");
        } else {
            fd_ = ::inotify_init1(IN_CLOEXEC);
            if (fd_ < 0 || ::inotify_add_watch(fd_, path, IN_OPEN) < 0) fail("inotify");
        }
    }

    int fd() const { return fd_; }
    const std::vector<std::string>& openers() const { return openers_; }

    // Takes what has happened; answers those who wait for leave.
    void take() {
        alignas(fanotify_event_metadata) alignas(inotify_event) char buffer[8192];
        const ssize_t n = ::read(fd_, buffer, sizeof buffer);
        if (n < 0) fail("read");
        std::size_t left = static_cast<std::size_t>(n);
        for (const char* at = buffer; left > 0;) {
            const std::size_t size = exact_ ? take_fanotify(at) : take_inotify(at);
            at += size;
            left -= size;
        }
    }

  private:
    std::size_t take_fanotify(const char* at) {
        fanotify_event_metadata event;
        std::memcpy(&event, at, sizeof event);
        openers_.push_back(name_of(event.pid));
        const fanotify_response allow{event.fd, FAN_ALLOW};
        if (::write(fd_, &allow, sizeof allow) != sizeof allow) fail("answer");
        ::close(event.fd);
        return event.event_len;
    }

    std::size_t take_inotify(const char* at) {
        inotify_event event;
        std::memcpy(&event, at, sizeof event);
        openers_.emplace_back("?");
        return sizeof event + event.len;
    }

    int fd_ = -1;
    bool exact_ = false;
    std::vector<std::string> openers_;
};

}  // namespace

int main(int argc, char** argv) {
    if (argc < 4) {
        std::fputs("usage: count_opens RESULT FILE COMMAND [ARG]...\n", stderr);
        return 125;
    }
    watch opens(argv[2]);
    int done[2];
    if (::pipe2(done, O_CLOEXEC) != 0) fail("pipe");

    const pid_t pid = ::fork();
    if (pid < 0) fail("fork");
    if (pid == 0) {
        ::execvp(argv[3], argv + 3);
        fail(argv[3]);
    }
    int status = 0;
    std::thread waiter([&] {
        while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
        }
        ::close(done[1]);
    });
    pollfd wanted[2] = {{opens.fd(), POLLIN, 0}, {done[0], POLLIN, 0}};
    for (;;) {
        if (::poll(wanted, 2, -1) < 0 && errno != EINTR) fail("poll");
        if (wanted[0].revents != 0)
            opens.take();
        else if (wanted[1].revents != 0)
            break;
    }
    waiter.join();

    std::ofstream result(argv[1]);
    result << opens.openers().size() << '\n';
    for (const std::string& name : opens.openers()) result << name << '\n';
    if (!result.flush()) fail(argv[1]);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
