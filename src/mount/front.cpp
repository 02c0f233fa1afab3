#include "mount/front.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "mount/children.h"
#include "mount/progress_line.h"
#include "os/files.h"
#include "os/fuse_mount.h"

namespace nerofs::mount {
namespace {

using namespace std::chrono_literals;

// Longer than all that a keeper may wait for in turn: three fetchers, modprobe, three servers, the kernel.
constexpr auto attach_time = 240s;
constexpr auto open_time = 30s;  // for a server to answer the first requests of FUSE
constexpr auto done_time = 30s;
constexpr auto exit_time = 2s;  // of a keeper that has nothing left to do

result<child> start_keeper() {
    os::spawn_options options;
    options.environment = {"PATH=/usr/sbin:/usr/bin:/sbin:/bin"};
    return start_program("nerofs-keeper", std::move(options));
}

// A keeper whose channel has closed: how it ended, in words.
error keeper_death(os::process& keeper, const std::string& when) {
    const bool gone = os::wait_readable(keeper.pidfd(), os::in_time(exit_time)).has_value();
    return make_error(error_kind::permanent,
                      "the keeper (nerofs-keeper) " + (gone ? keeper.reap() : "hung up") + " " + when, EIO)
        .with_hint("see /run/nerofs/log");
}

struct answered {
    ctl::attach_answer answer;
    unique_fd fuse_mount;
};

result<answered> ask(child& keeper, const status& sent, std::chrono::seconds for_source = 0s) {
    // What can't be sent isn't the story: a keeper that hung up may have said why before.
    if (!sent && sent.error().kind != error_kind::cancelled) return fail(sent.error());
    const os::deadline until = os::in_time(attach_time + for_source);
    progress_line line;
    auto packet = keeper.channel.receive(until);
    while (packet && wire_reader(packet->bytes).get<ctl::message>() == ctl::message::progress) {
        wire_reader said(packet->bytes);
        (void)said.get<ctl::message>();
        line.show(said.text());
        packet = keeper.channel.receive(until);
    }
    line.clear();
    if (!packet) {
        if (packet.error().kind != error_kind::cancelled) return fail(packet.error());
        return fail(keeper_death(keeper.process, "before the device was ready"));
    }
    wire_reader body(packet->bytes);
    switch (body.get<ctl::message>()) {
        case ctl::message::attach_answer: {
            answered a;
            NEROFS_TRY(a.answer, ctl::decode_attach_answer(body));
            if (!packet->fds.empty()) a.fuse_mount = std::move(packet->fds.front());
            return a;
        }
        case ctl::message::failed:
            // It has undone everything and is ending: when we report, nothing of it is left.
            if (os::wait_readable(keeper.process.pidfd(), os::in_time(exit_time))) keeper.process.reap();
            return fail(ctl::decode_error(body));
        default:
            return fail(error_kind::corrupt, "the keeper sent an unexpected answer");
    }
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
    NEROFS_TRY(child keeper, start_keeper());
    const os::packet packet = ctl::encode(request);
    const status sent = keeper.channel.send(packet.bytes, std::span(&image, image ? 1 : 0));
    // Three fetchers, each of which may wait for the source twice.
    NEROFS_TRY(answered got, ask(keeper, sent, image ? 0s : 6 * request.remote.timeout));
    return attachment(std::move(keeper.process), std::move(keeper.channel), std::move(got.answer),
                      std::move(got.fuse_mount));
}

result<unique_fd> attachment::open_file() {
    // Without its front the keeper ends everything, and so this open.
    auto file = os::open_served(fuse_mount_, "image", os::in_time(open_time), [this] { keeper_.close(); });
    fuse_mount_.reset();
    return file;
}

status attachment::mounted(const std::string& mount_point) {
    // The mount's root lets the keeper watch for the unmount; without it (it may be unreadable) it finds it by itself.
    const auto root = os::open_file(mount_point, O_PATH | O_DIRECTORY);
    status told = ctl::send_text(keeper_, ctl::message::mounted, mount_point, root ? fd_ref(*root) : fd_ref());
    if (told) {
        auto done = ctl::receive_answer(keeper_, ctl::message::done, os::in_time(done_time));
        if (done) return {};
        told = fail(std::move(done).error());
    }
    if (told.error().kind == error_kind::cancelled)
        return fail(keeper_death(process_, "before the mount was in its care"));
    return told;
}

status attachment::undo() {
    if (!process_) return {};  // mounted() has seen it die
    status told = ctl::send_simple(keeper_, ctl::message::mount_failed);
    if (told) {
        auto done = ctl::receive_answer(keeper_, ctl::message::done, os::in_time(done_time));
        if (!done) told = fail(std::move(done).error());
    }
    keeper_.close();
    if (!told && told.error().kind == error_kind::cancelled)
        return fail(keeper_death(process_, "before the image was mounted"));
    if (os::wait_readable(process_.pidfd(), os::in_time(exit_time))) process_.reap();
    return told;
}

result<ctl::attach_answer> reattach(const ctl::reattach_request& request) {
    NEROFS_TRY(child keeper, start_keeper());
    NEROFS_TRY(answered got, ask(keeper, ctl::send(keeper.channel, ctl::encode(request))));
    return std::move(got.answer);
}

}  // namespace nerofs::mount
