#include "mount/unmount.h"

#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>

#include "mount/inventory.h"
#include "os/files.h"
#include "os/mounts.h"

namespace nerofs::mount {
namespace {

using namespace std::chrono_literals;

constexpr auto settle_time = 10s;

result<os::mount_entry> find_mount(const std::string& target) {
    NEROFS_TRY(const std::vector<os::mount_entry> mounts, os::read_mounts());
    const auto newest_at = [&mounts](const std::string& point) {
        return std::find_if(mounts.rbegin(), mounts.rend(),
                            [&point](const os::mount_entry& m) { return m.mount_point == point; });
    };
    auto found = newest_at(os::spelled_out(target));
    if (found == mounts.rend()) {
        // Through symbolic links, or a device. What is no mount point can be asked about without waiting for a server.
        struct stat entry {};
        if (::stat(target.c_str(), &entry) != 0) return fail_errno("'" + target + "'");
        if (S_ISBLK(entry.st_mode)) {
            found = std::find_if(mounts.rbegin(), mounts.rend(), [&entry](const os::mount_entry& m) {
                return m.major == major(entry.st_rdev) && m.minor == minor(entry.st_rdev);
            });
        } else {
            std::error_code code;
            const std::filesystem::path real = std::filesystem::canonical(target, code);
            if (!code) found = newest_at(real.string());
        }
        if (found == mounts.rend()) return fail(error_kind::usage, "'" + target + "' is not mounted", EINVAL);
    }
    if (found->type != "erofs")
        return fail(error_kind::usage, "'" + target + "' is not an EROFS mount but " + found->type, EINVAL);
    return *found;
}

// The file system is unmounted here: if that was the device's end, waits until nothing of it is left.
void settle(const std::string& control_path) {
    auto keeper = connect_keeper(control_path);
    if (!keeper || !ctl::send_simple(*keeper, ctl::message::settle)) return;
    const auto answer = ctl::receive_answer(*keeper, ctl::message::settle_answer, os::in_time(settle_time));
    if (!answer || ctl::body_of(*answer).get<ctl::settled>() != ctl::settled::ending) return;
    (void)keeper->receive(os::in_time(settle_time));  // the end of the channel is the end of the keeper
}

}  // namespace

status unmount(const run_directory& directory, const std::string& target, int flags) {
    NEROFS_TRY(const os::mount_entry mount, find_mount(target));
    // Asked before the unmount: afterwards the device may have forgotten whose it was.
    const auto index = nbd_index_of_mount(mount);
    auto control = index ? control_path_of(directory, *index) : fail(error_kind::not_found, "");
    if (!index) {
        if (const auto r = fuse_record_at(directory, mount.mount_point)) control = directory.control_path(r->id);
    }
    if (auto status = os::unmount(mount.mount_point, flags); !status) {
        error e = std::move(status).error();
        if (e.code == EBUSY) e.hint = "something still uses it ('fuser -vm' tells); -l unmounts it when that ends";
        return fail(std::move(e));
    }
    if (control) settle(*control);
    return {};
}

}  // namespace nerofs::mount
