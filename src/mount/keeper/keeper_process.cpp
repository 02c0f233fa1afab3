#include "mount/keeper/keeper_process.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>

#include "base/fault.h"
#include "base/log.h"
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

}  // namespace

int keeper_main(int front_fd) {
    os::ignore_sigpipe();
    os::channel front{unique_fd(front_fd)};
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
