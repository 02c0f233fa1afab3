// What the keeper finds out from its device: who uses it, whether its connections work, when it is unmounted.
#include <fcntl.h>
#include <linux/sockios.h>
#include <sched.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <thread>

#include "base/log.h"
#include "mount/keeper/keeper.h"
#include "os/files.h"
#include "os/mounts.h"

namespace nerofs::mount {
namespace {

using namespace std::chrono_literals;

constexpr auto proof_look_time = 50ms;
constexpr unsigned looks_until_stuck = 4;

// One read of `bytes` by a processor of each hardware queue, in turn. What fails is for who mounts to see.
void read_by_each_queue(const std::string& path, int index, std::uint64_t bytes) {
    const auto file = os::open_file(path, O_RDONLY | O_DIRECT);
    if (!file) return;
    const std::unique_ptr<std::byte, void (*)(void*)> buffer(static_cast<std::byte*>(std::aligned_alloc(4096, 65536)),
                                                             &std::free);
    for (unsigned queue = 0; queue < serve::max_connections; ++queue) {
        const auto list =
            os::read_attribute("/sys/block/nbd" + std::to_string(index) + "/mq/" + std::to_string(queue) + "/cpu_list");
        if (!list) break;
        cpu_set_t processor;
        CPU_ZERO(&processor);
        CPU_SET(std::strtoul(list->c_str(), nullptr, 10) % CPU_SETSIZE, &processor);
        (void)::sched_setaffinity(0, sizeof processor, &processor);
        (void)!::pread(file->get(), buffer.get(), std::min<std::uint64_t>(bytes, 65536), 0);
    }
}

}  // namespace

// Questions are asked on a thread: opening a device may read from it, and the server that answers may need this loop.
void keeper::ask_device(std::function<void()> question, std::function<void()> then) {
    probe_event_ = unique_fd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    probe_ = std::thread([this, ask = std::move(question)] {
        ask();
        const std::uint64_t one = 1;
        (void)!::write(probe_event_.get(), &one, sizeof one);
    });
    (void)loop_.add(probe_event_, [this, then = std::move(then)] {
        loop_.remove(probe_event_);
        probe_.join();
        if (!ending_) then();
    });
}

// A mounted device is claimed exclusively, in whatever namespace.
void keeper::find_out_whether_mounted(std::function<void(bool)> then) {
    ask_device(
        [this, path = device_->path()] {
            const auto file = os::open_file(path, O_RDONLY | O_EXCL);
            probe_found_mount_ = !file && file.error().code == EBUSY;
        },
        [this, then = std::move(then)] { then(probe_found_mount_); });
}

// ---- the proof that every connection works ----

// A read by each hardware queue. The kernel receives the replies of all connections by a workqueue of the device; when
// the machine is so busy that it can't start a worker within some 10 ms, the workqueue's rescuer takes several of these
// endless work items and does only the first of them: the replies on the others lie there until their requests time
// out, 30 s later (seen on 6.1 with 20 attaches at once). Now nobody waits for the device yet, so it can be mended.
void keeper::prove_connections() {
    ask_device([path = device_->path(), index = device_->index(),
                bytes = record_.block_size] { read_by_each_queue(path, index, bytes); },
               [this] {
                   if (proof_timer_) loop_.cancel(*proof_timer_);
                   proof_timer_.reset();
                   announce();
               });
    proof_timer_ = loop_.at(os::in_time(proof_look_time), [this] { check_progress_of_proof(); });
}

// A connection on whose far end a reply lies unread waits for the rescuer, which is busy with another one: that one is
// ended, and replaced as any that has ended.
void keeper::check_progress_of_proof() {
    proof_timer_ = loop_.at(os::in_time(proof_look_time), [this] { check_progress_of_proof(); });
    bool stuck = false;
    for (connection& c : connections_) {
        int bytes = 0;
        const bool unread = !c.ended && ::ioctl(c.socket.get(), SIOCOUTQ, &bytes) == 0 && bytes > 0;
        c.unread = unread ? c.unread + 1 : 0;
        stuck = stuck || c.unread >= looks_until_stuck;
    }
    if (!stuck) return;
    for (connection& c : connections_) {
        if (c.ended || c.unread > 0 || c.kicked) continue;
        c.kicked = true;
        log::warning("a connection of " + device_->name() + " isn't read by the kernel; replacing another");
        ::shutdown(c.socket.get(), SHUT_RDWR);
        return;
    }
}

void keeper::watch_mount_of_device() {
    const auto mounts = os::read_mounts();
    struct stat found {};
    if (!mounts || ::stat(device_->path().c_str(), &found) != 0) return;
    for (const os::mount_entry& m : *mounts)
        if (m.major == major(found.st_rdev) && m.minor == minor(found.st_rdev)) return watch_root(m.mount_point);
}

// ---- the unmount ----

// ioctl has no autoclear: the file system's root is watched instead, which tells of the last unmount in any namespace.
void keeper::watch_root(const std::string& path) {
    unmount_watch_ = unique_fd(::inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
    if (!unmount_watch_ || ::inotify_add_watch(unmount_watch_.get(), path.c_str(), IN_DELETE_SELF) < 0 ||
        !loop_.add(unmount_watch_, [this] { on_unmounted(); })) {
        log::warning("cannot watch the mount; after an unmount use 'nerofs disconnect " + device_->path() + "'");
        unmount_watch_.reset();
    }
}

void keeper::on_unmounted() {
    alignas(inotify_event) char events[4096];
    const ssize_t n = ::read(unmount_watch_.get(), events, sizeof events);
    if (n <= 0) return;
    loop_.remove(unmount_watch_);
    unmount_watch_.reset();
    (void)device_->disconnect();
    finish("unmounted");
}

}  // namespace nerofs::mount
