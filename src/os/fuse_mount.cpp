#include "os/fuse_mount.h"

#include <fcntl.h>
#include <linux/fuse.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>
#include <thread>

#include "os/files.h"

namespace nerofs::os {
namespace {

constexpr const char* device_path = "/dev/fuse";

// What says that there is no FUSE here at all.
error no_fuse(error e) {
    if (e.code == ENOENT || e.code == ENODEV || e.code == ENXIO || e.code == ENOSYS) e.kind = error_kind::unsupported;
    return e;
}

result<unique_fd> open_device() {
    auto opened = open_file(device_path, O_RDWR);
    if (!opened) return fail(no_fuse(std::move(opened).error()));
    return opened;
}

// What the kernel says about a failure of a step, beside its errno: the newest message of the context.
error context_error(fd_ref context, const std::string& what) {
    error e = no_fuse(errno_error(what));
    char message[256];
    const ssize_t n = ::read(context.get(), message, sizeof message);
    if (n > 2) e.text.append(" (kernel: ").append(message + 2, static_cast<std::size_t>(n) - 2).append(")");
    return e;
}

result<unique_fd> make_mount(const std::string& source, fd_ref device) {
    const unique_fd context(::fsopen("fuse", FSOPEN_CLOEXEC));
    if (!context) return fail(no_fuse(errno_error("cannot make a FUSE file system")));
    const std::pair<const char*, std::string> options[] = {
        {"source", source}, {"fd", std::to_string(device.get())}, {"rootmode", "040500"}, {"user_id", "0"},
        {"group_id", "0"},
    };
    const auto failed = [&context](const std::string& what) {
        return fail(context_error(context, "cannot make a FUSE file system: " + what));
    };
    for (const auto& [key, value] : options)
        if (::fsconfig(context.get(), FSCONFIG_SET_STRING, key, value.c_str(), 0) != 0) return failed(key);
    for (const char* flag : {"ro", "default_permissions"})
        if (::fsconfig(context.get(), FSCONFIG_SET_FLAG, flag, nullptr, 0) != 0) return failed(flag);
    if (::fsconfig(context.get(), FSCONFIG_CMD_CREATE, nullptr, nullptr, 0) != 0) return failed("create");
    unique_fd mount(::fsmount(context.get(), FSMOUNT_CLOEXEC,
                              MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC));
    if (!mount) return failed("mount");
    return mount;
}

}  // namespace

result<fuse_superblock> make_fuse_superblock(const std::string& source, unsigned devices) {
    fuse_superblock made;
    NEROFS_TRY(unique_fd first, open_device());
    NEROFS_TRY(made.mount, make_mount(source, first));
    made.devices.push_back(std::move(first));
    while (made.devices.size() < devices) {
        NEROFS_TRY(unique_fd clone, open_device());
        auto original = static_cast<std::uint32_t>(made.devices.front().get());
        if (::ioctl(clone.get(), FUSE_DEV_IOC_CLONE, &original) != 0) break;
        made.devices.push_back(std::move(clone));
    }
    return made;
}

result<unique_fd> open_served(fd_ref directory, const std::string& name, deadline until,
                              const std::function<void()>& give_up) try {
    const unique_fd done(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    if (!done) return fail_errno("eventfd");
    unique_fd file;
    int code = 0;
    std::thread opening([&] {
        file = unique_fd(::openat(directory.get(), name.c_str(), O_RDONLY | O_CLOEXEC));
        code = file ? 0 : errno;
        const std::uint64_t one = 1;
        (void)!::write(done.get(), &one, sizeof one);
    });
    const status in_time = wait_readable(done, until);
    if (!in_time) give_up();
    opening.join();
    if (!in_time) return fail(error_kind::timeout, "the server of '" + name + "' doesn't answer", ETIMEDOUT);
    if (!file) return fail(errno_error(code, "open '" + name + "'"));
    return file;
} catch (const std::system_error& e) {
    return fail(errno_error(e.code().value(), "cannot start a thread"));
}

}  // namespace nerofs::os
