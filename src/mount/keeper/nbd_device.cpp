#include "mount/keeper/nbd_device.h"

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include "mount/record.h"
#include "os/channel.h"
#include "os/files.h"
#include "os/process.h"

namespace nerofs::mount {
namespace {

using namespace std::chrono_literals;

constexpr auto modprobe_time = 20s;

void write_attribute(const std::string& path, const std::string& value) {
    if (const auto file = os::open_file(path, O_WRONLY)) (void)!::write(file->get(), value.data(), value.size());
}

}  // namespace

status ensure_nbd_module() {
    if (nbd_state_of(0).exists || !nbd_indexes().empty()) return {};
    // The program that the kernel itself would call.
    std::string program = "/sbin/modprobe";
    if (const auto named = os::read_attribute("/proc/sys/kernel/modprobe"); named && !named->empty()) program = *named;
    std::string why;
    auto child = os::spawn({.program = program,
                            .arguments = {"modprobe", "-q", "nbd"},
                            .environment = {"PATH=/usr/sbin:/usr/bin:/sbin:/bin"},
                            .fds = {},
                            .run_as = {},
                            .new_session = false,
                            .lockable_memory = false});
    if (!child) {
        why = child.error().text;
    } else {
        if (!os::wait_readable(child->pidfd(), os::in_time(modprobe_time))) child->kill(SIGKILL);
        why = "'modprobe nbd' " + child->reap();
    }
    if (!nbd_indexes().empty()) return {};
    return fail(make_error(error_kind::unsupported, "this kernel has no nbd driver loaded, and " + why, ENODEV)
                    .with_hint("load the 'nbd' module, or mount without -t erofs.nbd"));
}

void tune_queue(int index) {
    const std::string queue = "/sys/block/nbd" + std::to_string(index) + "/queue/";
    write_attribute(queue + "scheduler", "none");
    write_attribute(queue + "max_sectors_kb", "1024");
    write_attribute(queue + "read_ahead_kb", "512");
}

}  // namespace nerofs::mount
