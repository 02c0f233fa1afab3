#include "mount/keeper/keeper_process.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>

#include "base/fault.h"
#include "base/log.h"
#include "mount/children.h"
#include "mount/keeper/keeper.h"
#include "os/files.h"
#include "os/process.h"

namespace nerofs::mount {
namespace {

constexpr off_t max_log_bytes = 1 << 20;  // then it becomes log.old, and a new one begins

// The log of all keepers and their children, appended to whole lines at a time.
unique_fd open_log(const run_directory& directory) {
    if (!directory.prepare()) return {};
    struct stat found {};
    if (::stat(directory.log_path().c_str(), &found) == 0 && found.st_size > max_log_bytes)
        ::rename(directory.log_path().c_str(), (directory.log_path() + ".old").c_str());
    auto file = os::open_file(directory.log_path(), O_WRONLY | O_APPEND | O_CREAT | O_NOFOLLOW, 0600);
    return file ? std::move(*file) : unique_fd();
}

bool same_file(const struct stat& a, const struct stat& b) {
    return a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

// Out of the caller's mount namespace, into that of process 1, where these are two: otherwise we would keep a private
// namespace, and so the mount in it, when all who used it are gone. We stay where our helpers aren't to be found
// outside, as in a container.
void leave_mount_namespace() {
    const auto root = os::open_file("/", O_PATH | O_DIRECTORY);
    const auto callers = os::open_file("/proc/self/ns/mnt", O_RDONLY);
    const auto first = os::open_file("/proc/1/ns/mnt", O_RDONLY);
    const std::string helper = helper_directory() + "/nerofs-server";
    struct stat here {};
    struct stat there {};
    struct stat before {};
    struct stat after {};
    if (!root || !callers || !first || ::fstat(callers->get(), &here) != 0 || ::fstat(first->get(), &there) != 0 ||
        same_file(here, there) || ::stat(helper.c_str(), &before) != 0 || ::setns(first->get(), CLONE_NEWNS) != 0)
        return;
    if (::stat(helper.c_str(), &after) == 0 && same_file(before, after)) return;
    // Back, into the same root.
    if (::setns(callers->get(), CLONE_NEWNS) != 0 || ::fchdir(root->get()) != 0 || ::chroot(".") != 0)
        log::warning("cannot return to the caller's mount namespace");
}

}  // namespace

int keeper_main(int front_fd) {
    os::ignore_sigpipe();
    os::channel front{unique_fd(front_fd)};
    leave_mount_namespace();
    const run_directory directory;
    const status detached = os::detach(open_log(directory));
    os::close_other_fds({front_fd});
    log::set_name("nerofs-keeper");
    fault::point("keeper.start");
    if (!detached) {
        (void)ctl::send_failed(front, detached.error());
        return 1;
    }
    os::protect_from_reclaim();
    auto loop = os::event_loop::make();
    if (!loop) {
        (void)ctl::send_failed(front, loop.error());
        return 1;
    }
    keeper(std::move(front), directory, std::move(*loop)).run();
    return 0;
}

}  // namespace nerofs::mount
