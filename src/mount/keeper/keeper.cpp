#include "mount/keeper/keeper.h"

#include <sys/socket.h>
#include <unistd.h>

#include "base/fault.h"
#include "base/log.h"
#include "base/wire.h"

namespace nerofs::mount {
namespace {

using namespace std::chrono_literals;

constexpr auto request_time = 30s;  // for the front to say what it wants

}  // namespace

void keeper::run() {
    auto wish = front_.receive(os::in_time(request_time));
    if (!wish) return;
    wire_reader body(wish->bytes);
    const auto type = body.get<ctl::message>();
    status done = fail(error_kind::usage, "an unknown request");
    if (type == ctl::message::attach) {
        if (auto request = ctl::decode_attach(body); !request)
            done = fail(std::move(request).error());
        else if (wish->fds.size() == (request->remote.kind == fetch::remote_kind::none ? 1 : 0))
            done = attach(*request, wish->fds.empty() ? unique_fd() : std::move(wish->fds.front()));
    } else if (type == ctl::message::reattach) {
        if (auto request = ctl::decode_reattach(body); !request)
            done = fail(std::move(request).error());
        else
            done = reattach(*request);
    }
    if (done) done = watch_everything();
    if (!done) {
        undo();
        (void)ctl::send_failed(front_, done.error());
        return;
    }
    log::set_name("nerofs-keeper[" + device_->name() + "]");
    if (attaching_ && !by_fuse())
        prove_connections();
    else
        announce();
    if (const status end = loop_.run(); !end) log::error("the keeper's loop failed: " + end.error().message());
    if (probe_.joinable()) probe_.join();  // its device has ended, so its open has, too
}

// The front may have the device.
void keeper::announce() {
    log::info("'" + (record_.path.empty() ? record_.source : record_.path) + "' is attached to " + device_->name() +
              " by " + device_->transport() + (note_.empty() ? "" : "; " + note_));
    os::packet answer = ctl::encode(ctl::attach_answer{device_->path(), device_->transport(), note_, needs_});
    if (fuse_mount_) answer.fds.push_back(std::move(fuse_mount_));
    const status told = ctl::send(front_, answer);
    answer.fds.clear();  // the front is the only user of the file system
    if (!told || !loop_.add(front_.fd(), [this] { on_front(); })) front_left();
    fault::point("keeper.attached");
}

// Everything that can happen from now on, as events.
status keeper::watch_everything() {
    for (connection& c : connections_) {
        c.ended.reset();
        NEROFS_CHECK(watch_hangup(c));
    }
    NEROFS_CHECK(loop_.add(control_, [this] { on_control(); }));
    NEROFS_CHECK(loop_.add(server_.channel.fd(), [this] { on_server_message(); }));
    NEROFS_CHECK(loop_.add(server_.process.pidfd(), [this] { on_server_death(); }));
    if (by_fuse()) look_after_server();
    if (remote_) {
        NEROFS_CHECK(watch_fetcher());
        look_after_fetcher();
    }
    if (const fd_ref ended = device_->ended_event())
        NEROFS_CHECK(loop_.add(ended, [this] { finish("the device has ended"); }));
    return {};
}

// The server reports the end of a connection. One that hangs doesn't: the kernel's timer ends its connections one by
// one, which is seen here, too.
status keeper::watch_hangup(const connection& c) {
    if (by_fuse()) return {};
    return loop_.add_hangup(c.socket, [this] { check_server_lives(); });
}

// An attach that failed leaves nothing behind; a reattach that failed leaves everything as it was.
void keeper::undo() {
    if (!attaching_) {
        if (server_started_ == std::chrono::steady_clock::time_point()) return;  // adopted, or never started
        if (server_.process) {
            server_.process.kill(SIGKILL);
            server_.process.reap();
        }
        if (control_) ::unlink(directory_.control_path(record_.id).c_str());
        return;
    }
    ending_ = true;
    if (device_) (void)device_->disconnect();
    end_serving();
    if (!record_.id.empty()) directory_.erase(record_.id);
}

void keeper::end_serving() {
    for (connection& c : connections_) {
        if (by_fuse())
            c.socket.reset();
        else if (c.socket)
            ::shutdown(c.socket.get(), SHUT_RDWR);
    }
    fuse_mount_.reset();
    device_.reset();  // ioctl: waits for DO_IT, which ends with its sockets
    if (server_.process) {
        loop_.remove(server_.process.pidfd());
        server_.process.kill(SIGKILL);
        server_.process.reap();
        server_ = {};
    }
    if (!remote_ || !ending_) return;
    loop_.remove(remote_.fetcher_ended());
    loop_.remove(remote_.fetcher_messages());
    remote_.close();
}

// ---- the front ----

void keeper::on_front() {
    const auto packet = front_.receive_now();
    if (!packet) {
        if (packet.error().kind != error_kind::retryable) front_left();
        return;
    }
    wire_reader body(packet->bytes);
    switch (body.get<ctl::message>()) {
        case ctl::message::mounted: {
            const std::string target = body.text();
            on_mounted(target, packet->fds.empty() ? fd_ref() : fd_ref(packet->fds.front()));
            (void)ctl::send_simple(front_, ctl::message::done);
            loop_.remove(front_.fd());
            front_.close();
            break;
        }
        case ctl::message::mount_failed:
            loop_.remove(front_.fd());
            ending_ = true;
            undo();
            (void)ctl::send_simple(front_, ctl::message::done);
            loop_.stop();
            break;
        default:
            break;
    }
}

void keeper::on_mounted(const std::string& target, fd_ref root) {
    mounted_ = true;
    record_.target = target;
    (void)directory_.store(record_);
    fault::point("keeper.mounted");
    if (device_->ended_event()) {
        if (root) watch_root("/proc/self/fd/" + std::to_string(root.get()));
    } else {
        enable_autoclear();
    }
}

void keeper::enable_autoclear() {
    if (const status done = device_->enable_autoclear(); !done)
        log::warning("autoclear is off: " + done.error().message());
}

// The front died, or was interrupted, and didn't say whether it had mounted the device: the device tells.
void keeper::front_left() {
    if (front_) {
        loop_.remove(front_.fd());
        front_.close();
    }
    if (mounted_ || ending_) return;
    mounted_ = true;
    if (by_fuse()) return;  // ended by its last user, whoever that is
    // With autoclear the question is the answer: unmounted, its close is the last one and ends the device.
    const bool autoclear = !device_->ended_event() && device_->enable_autoclear();
    find_out_whether_mounted([this, autoclear](bool is_mounted) {
        if (is_mounted && !autoclear) watch_mount_of_device();
        if (is_mounted || autoclear) return;
        (void)device_->disconnect();
        finish("the command that asked for it went away before the mount");
    });
}

// ---- the end ----

void keeper::finish(const std::string& why) {
    if (ending_) return;
    ending_ = true;
    log::info(device_->name() + " ends: " + why);
    end_serving();
    directory_.erase(record_.id);
    ::unlink(record_.backend.c_str());  // the peer's, where it was one
    for (os::channel& c : settling_) {
        (void)ctl::send_settled(c, ctl::settled::ending);
        (void)c.release().release();  // held until this process is gone
    }
    settling_.clear();
    loop_.stop();
}

}  // namespace nerofs::mount
