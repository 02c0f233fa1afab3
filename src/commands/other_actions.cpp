#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>

#include "commands/actions.h"
#include "commands/remote_request.h"
#include "mount/front.h"
#include "mount/inventory.h"
#include "mount/keeper/nbd_device.h"
#include "mount/unmount.h"
#include "os/files.h"

namespace nerofs::commands {
namespace {

using namespace std::chrono_literals;

constexpr auto disconnect_time = 15s;

status disconnect_by_keeper(const std::string& control_path) {
    NEROFS_TRY(const os::channel keeper, mount::connect_keeper(control_path));
    NEROFS_CHECK(ctl::send_simple(keeper, ctl::message::disconnect));
    NEROFS_TRY(const os::packet done, ctl::receive_answer(keeper, ctl::message::done, os::in_time(disconnect_time)));
    (void)keeper.receive(os::in_time(disconnect_time));
    return {};
}

}  // namespace

status do_unmount(const std::string& target, int flags, const std::string& mount_namespace, const environment& env) {
    if (!mount_namespace.empty()) {
        const bool is_pid = mount_namespace.find_first_not_of("0123456789") == std::string::npos;
        NEROFS_TRY(const unique_fd space,
                   os::open_file(is_pid ? "/proc/" + mount_namespace + "/ns/mnt" : mount_namespace, O_RDONLY));
        if (::setns(space.get(), CLONE_NEWNS) != 0)
            return fail_errno("enter the mount namespace '" + mount_namespace + "'");
    }
    auto done = mount::unmount(env.directory, target, flags);
    if (!done) return fail(std::move(done).error().in("cannot unmount '" + target + "'"));
    return {};
}

status do_reattach(const std::string& device, const environment& env) {
    const auto run = [&]() -> status {
        if (const auto known = mount::fuse_record_at(env.directory, os::spelled_out(device))) {
            ctl::reattach_request request{env.directory.record_path(known->id), -1, {}};
            NEROFS_TRY(request.secrets, find_secrets_again(*known));
            NEROFS_TRY(const ctl::attach_answer answer, mount::reattach(request));
            std::fprintf(env.out, "%s is served again: %s\n", known->target.c_str(), answer.note.c_str());
            return {};
        }
        NEROFS_TRY(const int index, mount::nbd_index_of(device));
        const mount::nbd_state state = mount::nbd_state_of(index);
        if (!state.exists) return fail(error_kind::not_found, "there is no such device", ENODEV);
        NEROFS_TRY(const std::string record, mount::record_of_device(env.directory, index));
        ctl::reattach_request request{record, index, {}};
        if (const auto known = env.directory.load(record)) {
            NEROFS_TRY(request.secrets, find_secrets_again(*known));
        }
        NEROFS_TRY(const ctl::attach_answer answer, mount::reattach(request));
        std::fprintf(env.out, "%s is served again%s%s\n", answer.device.c_str(), answer.note.empty() ? "" : ": ",
                     answer.note.c_str());
        return {};
    };
    auto done = run();
    if (!done) return fail(std::move(done).error().in("cannot reattach '" + device + "'"));
    return {};
}

status do_reattach_all(const environment& env) {
    std::size_t failed = 0;
    std::size_t found = 0;
    for (const mount::inventory_entry& entry : mount::take_inventory(env.directory)) {
        if (entry.kept_by != mount::caretaker::nobody && entry.kept_by != mount::caretaker::server_only) continue;
        const auto r = env.directory.load(env.directory.record_path(entry.status.id));
        const auto index = r ? mount::nbd_with_backend(r->backend) : std::nullopt;
        const bool by_fuse = r && r->transport == "fuse" && entry.kept_by == mount::caretaker::server_only;
        if (!index && !by_fuse) continue;  // its device is gone: the next attach removes the record
        ++found;
        if (const status done = do_reattach(by_fuse ? r->target : "/dev/nbd" + std::to_string(*index), env); !done) {
            report(env, "nerofs", done.error());
            ++failed;
        }
    }
    if (failed == 0) return {};
    return fail(error_kind::permanent,
                std::to_string(failed) + " of " + std::to_string(found) + " devices could not be reattached");
}

status do_disconnect(const std::string& device, const environment& env) {
    const auto run = [&]() -> status {
        if (const auto known = mount::fuse_record_at(env.directory, os::spelled_out(device)))
            return disconnect_by_keeper(env.directory.control_path(known->id));
        NEROFS_TRY(const int index, mount::nbd_index_of(device));
        const mount::nbd_state state = mount::nbd_state_of(index);
        if (!state.exists) return fail(error_kind::not_found, "there is no such device", ENODEV);
        if (!state.connected) return fail(error_kind::usage, "it is not connected", ENOTCONN);
        // Its keeper does it best, and is the only one who can where netlink can't be used.
        const auto control = mount::control_path_of(env.directory, index);
        if (control && mount::connect_keeper(*control)) return disconnect_by_keeper(*control);
        NEROFS_CHECK(mount::disconnect_by_netlink(index));
        // Nobody is left to remove its record, and a mount may hold the device for long.
        const auto path = mount::record_of_device(env.directory, index);
        if (const auto r = path ? env.directory.load(*path) : fail(path.error())) env.directory.erase(r->id);
        return {};
    };
    auto done = run();
    if (!done) return fail(std::move(done).error().in("cannot disconnect '" + device + "'"));
    env.directory.collect_garbage();
    return {};
}

}  // namespace nerofs::commands
