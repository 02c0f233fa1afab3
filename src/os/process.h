// Child processes: started with exactly the descriptors, identity and environment that are named, watched by pidfd.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"

namespace nerofs::os {

struct identity {
    uid_t uid = 0;
    gid_t gid = 0;
};

struct spawn_options {
    std::string program;                   // path
    std::vector<std::string> arguments;    // argv[0] first
    std::vector<std::string> environment;  // NAME=value
    // Become 3, 4, ... in the child, in this order; all others but 0, 1 and 2 are closed.
    std::vector<fd_ref> fds;
    // Take this identity before exec, with no supplementary groups, no capabilities and no_new_privs.
    std::optional<identity> run_as;
    bool new_session = true;
    // Lift RLIMIT_MEMLOCK (before the identity is dropped) and make default thread stacks small, so that all of the
    // child can be locked in memory.
    bool lockable_memory = false;
    bool quiet = false;  // standard output and error are /dev/null
};

// A child, or somebody else's process that is only watched.
class process {
  public:
    process() = default;
    process(pid_t pid, unique_fd pidfd) : pid_(pid), pidfd_(std::move(pidfd)) {}

    // Watches a process that isn't a child. Kind not_found when there is none.
    static result<process> watch(pid_t pid);

    pid_t pid() const { return pid_; }
    fd_ref pidfd() const { return pidfd_; }
    explicit operator bool() const { return static_cast<bool>(pidfd_); }

    void kill(int signal) const;
    // Reaps the process after its pidfd became readable. How it ended, in words ("was killed by signal 9 (Killed)");
    // a process that is no child of ours "ended".
    std::string reap();

  private:
    pid_t pid_ = 0;
    unique_fd pidfd_;
};

// fork and exec. An error if the program can't be executed. The child has default signal actions and an empty mask.
result<process> spawn(const spawn_options& options);

// The identity for helpers: the user `name` of /etc/passwd, else 65534 (nobody). Reads the file itself: name services
// may live on the very device that is being attached.
identity unprivileged_identity(const std::string& name);

// For processes that the block layer waits for: never chosen by the OOM killer, and no reclaim through their own device
// (PR_SET_IO_FLUSHER). Inherited by children. What can't be set is skipped.
void protect_from_reclaim();

// Leave the caller's session, directory, umask and stdio: stdin from /dev/null, stdout and stderr to `log`.
status detach(fd_ref log);

// Closes every descriptor above stderr that isn't named.
void close_other_fds(std::vector<int> keep);

void ignore_sigpipe();

}  // namespace nerofs::os
