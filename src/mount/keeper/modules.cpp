#include "mount/keeper/modules.h"

#include <signal.h>

#include "os/channel.h"
#include "os/files.h"
#include "os/process.h"

namespace nerofs::mount {
namespace {

using namespace std::chrono_literals;

constexpr auto modprobe_time = 20s;

}  // namespace

std::string load_module(const std::string& name) {
    // The program that the kernel itself would call.
    std::string program = "/sbin/modprobe";
    if (const auto named = os::read_attribute("/proc/sys/kernel/modprobe"); named && !named->empty()) program = *named;
    auto child = os::spawn({.program = program,
                            .arguments = {"modprobe", "-q", name},
                            .environment = {"PATH=/usr/sbin:/usr/bin:/sbin:/bin"},
                            .fds = {},
                            .run_as = {},
                            .new_session = false,
                            .lockable_memory = false});
    if (!child) return child.error().text;
    if (!os::wait_readable(child->pidfd(), os::in_time(modprobe_time))) child->kill(SIGKILL);
    return "'modprobe " + name + "' " + child->reap();
}

}  // namespace nerofs::mount
