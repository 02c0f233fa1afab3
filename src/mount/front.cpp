#include "mount/front.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstdlib>

#include "mount/children.h"
#include "os/files.h"
#include "os/process.h"

namespace nerofs::mount {
namespace {

using namespace std::chrono_literals;

// Longer than all that a keeper may wait for in turn: three fetchers, modprobe, three servers, the kernel.
constexpr auto attach_time = 240s;
constexpr auto done_time = 30s;
constexpr auto exit_time = 2s;  // of a keeper that has nothing left to do

struct started_keeper {
    os::process process;
    os::channel channel;
};

result<started_keeper> start_keeper() {
    NEROFS_TRY(auto ends, os::channel::make_pair());
    os::spawn_options options;
    options.program = helper_directory() + "/nerofs-keeper";
    options.arguments = {"nerofs-keeper"};
    options.environment = {"PATH=/usr/sbin:/usr/bin:/sbin:/bin"};
#if NEROFS_FAULTS
    if (const char* plan = std::getenv("NEROFS_FAULT"))
        options.environment.push_back(std::string("NEROFS_FAULT=") + plan);
#endif
    options.fds = {ends.second.fd()};
    NEROFS_TRY(os::process process, os::spawn(options));
    return started_keeper{std::move(process), std::move(ends.first)};
}

result<ctl::attach_answer> ask(started_keeper& keeper, const status& sent) {
    NEROFS_CHECK(sent);
    auto packet = ctl::receive_answer(keeper.channel, ctl::message::attach_answer, os::in_time(attach_time));
    if (packet) {
        wire_reader body = ctl::body_of(*packet);
        return ctl::decode_attach_answer(body);
    }
    // A keeper that has failed has undone everything and is ending: when we report, nothing of it is left.
    const bool gone = os::wait_readable(keeper.process.pidfd(), os::in_time(exit_time)).has_value();
    if (packet.error().code != EPIPE) {
        if (gone) keeper.process.reap();
        return fail(packet.error());
    }
    return fail(make_error(error_kind::permanent,
                           "the keeper (nerofs-keeper) " + (gone ? keeper.process.reap() : "hung up") +
                               " before the device was ready",
                           EIO)
                    .with_hint("see /run/nerofs/log"));
}

}  // namespace

result<opened_source> open_source(const std::string& path) {
    opened_source source;
    NEROFS_TRY(source.file, os::open_file(path, O_RDONLY | O_NONBLOCK));
    struct stat found {};
    if (::fstat(source.file.get(), &found) != 0) return fail_errno("'" + path + "'");
    source.block_device = S_ISBLK(found.st_mode);
    if (!source.block_device && !S_ISREG(found.st_mode))
        return fail(error_kind::usage, "'" + path + "' is neither a regular file nor a block device", EINVAL);
    NEROFS_TRY(source.path, os::real_path(path));
    return source;
}

result<attachment> attachment::start(const ctl::attach_request& request, fd_ref image) {
    NEROFS_TRY(started_keeper keeper, start_keeper());
    const os::packet packet = ctl::encode(request);
    NEROFS_TRY(ctl::attach_answer answer, ask(keeper, keeper.channel.send(packet.bytes, std::span(&image, 1))));
    return attachment(std::move(keeper.process), std::move(keeper.channel), std::move(answer));
}

status attachment::mounted(const std::string& mount_point) {
    // The mount's root lets the keeper watch for the unmount; without it (it may be unreadable) it finds it by itself.
    const auto root = os::open_file(mount_point, O_PATH | O_DIRECTORY);
    NEROFS_CHECK(ctl::send_text(keeper_, ctl::message::mounted, mount_point, root ? fd_ref(*root) : fd_ref()));
    NEROFS_TRY(const os::packet done, ctl::receive_answer(keeper_, ctl::message::done, os::in_time(done_time)));
    return {};
}

void attachment::undo() {
    if (ctl::send_simple(keeper_, ctl::message::mount_failed))
        (void)ctl::receive_answer(keeper_, ctl::message::done, os::in_time(done_time));
    keeper_.close();
    if (os::wait_readable(process_.pidfd(), os::in_time(exit_time))) process_.reap();
}

result<ctl::attach_answer> reattach(const std::string& record_path, int index) {
    NEROFS_TRY(started_keeper keeper, start_keeper());
    return ask(keeper, ctl::send(keeper.channel, ctl::encode(ctl::reattach_request{record_path, index})));
}

}  // namespace nerofs::mount
