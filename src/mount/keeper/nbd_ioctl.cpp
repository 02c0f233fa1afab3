// NBD by ioctl (<linux/nbd.h>): where netlink can't be used. The connection lives as long as the thread in DO_IT: it
// doesn't survive this process.
#include <fcntl.h>
#include <linux/nbd.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <future>
#include <thread>

#include "base/fault.h"
#include "mount/keeper/nbd_device.h"
#include "mount/record.h"
#include "nbd/protocol.h"
#include "os/files.h"
#include "os/netlink/uevents.h"

namespace nerofs::mount {
namespace {

using namespace std::chrono_literals;

constexpr auto ready_time = 10s;

class ioctl_device final : public nbd_device {
  public:
    ioctl_device(int index, unique_fd device, unique_fd ended)
        : nbd_device(index), device_(std::move(device)), ended_(std::move(ended)) {}

    ~ioctl_device() override {
        if (!thread_.joinable()) return;
        (void)disconnect();
        thread_.join();
    }

    // Sets the device up and starts the thread that stays in DO_IT. The driver binds a set-up to the task that began
    // it, so all of it happens there. Returns when the set-up was accepted or refused.
    status start(const nbd_parameters& p, const std::vector<unique_fd>& kernel_ends) {
        std::promise<status> set_up;
        auto accepted = set_up.get_future();
        thread_ = std::thread([this, &p, &kernel_ends, set_up = std::move(set_up)]() mutable {
            status done = configure(p, kernel_ends);
            const bool ok = done.has_value();
            set_up.set_value(std::move(done));  // p and kernel_ends may be gone from here on
            if (ok) {
                ::ioctl(device_.get(), NBD_DO_IT);
                ::ioctl(device_.get(), NBD_CLEAR_SOCK);
            }
            over_ = true;
            const std::uint64_t one = 1;
            (void)!::write(ended_.get(), &one, sizeof one);
        });
        status done = accepted.get();
        if (!done) thread_.join();  // the device is somebody else's: nothing of it is ours to end
        return done;
    }

    std::string transport() const override { return "nbd (ioctl)"; }
    bool connected() const override { return !over_ && nbd_state_of(index()).connected; }
    bool over() const { return over_; }

    status enable_autoclear() override {
        return fail(error_kind::unsupported, "a device attached by ioctl has no autoclear", EOPNOTSUPP);
    }
    status replace_socket(fd_ref) override {
        return fail(error_kind::unsupported, "a device attached by ioctl takes no new sockets", EOPNOTSUPP);
    }
    status disconnect() override {
        // The goodbye goes out on each socket. DO_IT ends when they are closed, which is the keeper's part.
        if (over_ || disconnecting_) return {};
        disconnecting_ = true;
        if (::ioctl(device_.get(), NBD_DISCONNECT) != 0 && errno != EINVAL)
            return fail_errno(name() + ": NBD_DISCONNECT");
        return {};
    }
    fd_ref ended_event() const override { return ended_; }

  private:
    status configure(const nbd_parameters& p, const std::vector<unique_fd>& kernel_ends) const {
        const int fd = device_.get();
        const auto step = [this](int code, const char* what) -> status {
            if (code != 0) return fail_errno(name() + ": " + what);
            return {};
        };
        if (const int code = fault::point("ioctl.set_sock"); code != 0) return fail(errno_error(code, name()));
        for (const unique_fd& socket : kernel_ends)
            NEROFS_CHECK(step(::ioctl(fd, NBD_SET_SOCK, static_cast<unsigned long>(socket.get())), "NBD_SET_SOCK"));
        NEROFS_CHECK(step(::ioctl(fd, NBD_SET_BLKSIZE, static_cast<unsigned long>(p.block_size)), "NBD_SET_BLKSIZE"));
        NEROFS_CHECK(step(::ioctl(fd, NBD_SET_SIZE_BLOCKS, static_cast<unsigned long>(p.size_bytes / p.block_size)),
                          "NBD_SET_SIZE_BLOCKS"));
        NEROFS_CHECK(
            step(::ioctl(fd, NBD_SET_TIMEOUT, static_cast<unsigned long>(p.timeout.count())), "NBD_SET_TIMEOUT"));
        return step(::ioctl(fd, NBD_SET_FLAGS, static_cast<unsigned long>(nbd::transmission_flags)), "NBD_SET_FLAGS");
    }

    unique_fd device_;
    unique_fd ended_;  // an eventfd
    std::atomic<bool> over_{false};
    bool disconnecting_ = false;
    std::thread thread_;
};

// Tries one device. Kind retryable (EBUSY): somebody else took it first.
result<std::unique_ptr<attached_device>> connect_to(int index, const nbd_parameters& p,
                                                    const std::vector<unique_fd>& kernel_ends) {
    NEROFS_TRY(unique_fd device, os::open_file("/dev/nbd" + std::to_string(index), O_RDWR));
    unique_fd ended(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    if (!ended) return fail_errno("eventfd");
    unique_fd also_ended(::fcntl(ended.get(), F_DUPFD_CLOEXEC, 0));
    NEROFS_TRY(const os::uevents events, os::uevents::open());
    auto connecting = std::make_unique<ioctl_device>(index, std::move(device), std::move(ended));
    NEROFS_CHECK(connecting->start(p, kernel_ends));

    // Ready when the size is committed, which some kernels do inside DO_IT.
    const std::string size_path = "/sys/block/nbd" + std::to_string(index) + "/size";
    const std::string sectors = std::to_string(p.size_bytes / 512);
    const auto settled = [&] {
        const auto size = os::read_attribute(size_path);
        return connecting->over() || (connecting->connected() && size && *size == sectors);
    };
    if (auto waited = events.wait_until(settled, also_ended, os::in_time(ready_time)); !waited)
        return fail(std::move(waited).error().in(connecting->name() + ": waiting for the device to come up"));
    if (connecting->over())
        return fail(error_kind::retryable, connecting->name() + ": the kernel ended the connection at once", EBUSY);
    return connecting;
}

}  // namespace

result<std::unique_ptr<attached_device>> connect_by_ioctl(const nbd_parameters& p,
                                                          const std::vector<unique_fd>& kernel_ends) {
    const std::vector<int> all = nbd_indexes();
    std::size_t in_use = 0;
    for (const int index : all) {
        if (nbd_state_of(index).connected) {
            ++in_use;
            continue;
        }
        auto device = connect_to(index, p, kernel_ends);
        if (device || device.error().code != EBUSY) return device;
        ++in_use;  // lost between choice and connect: the next one
    }
    const std::string count = std::to_string(in_use) + " of " + std::to_string(all.size());
    return fail(
        make_error(error_kind::retryable, "no free nbd device (" + count + " in use)", EBUSY)
            .with_hint(
                "netlink makes more (nbd.method=auto); so does unloading the module and 'modprobe nbd nbds_max=64'"));
}

}  // namespace nerofs::mount
