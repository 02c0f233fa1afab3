#include "mount/keeper/keeper.h"

#include <fcntl.h>
#include <linux/sockios.h>
#include <sched.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <ctime>
#include <memory>
#include <thread>

#include "base/fault.h"
#include "base/log.h"
#include "base/wire.h"
#include "os/files.h"
#include "os/mounts.h"

namespace nerofs::mount {
namespace {

using namespace std::chrono_literals;

constexpr auto request_time = 30s;  // for the front to say what it wants
constexpr auto control_time = 1s;   // for a caller at the control socket to ask its question
constexpr auto ping_time = 2s;      // a server that lives answers at once
constexpr auto fetcher_look_time = 10s;
constexpr auto server_look_time = 10s;
constexpr auto settle_time = 2s;  // for a FUSE file system that was unmounted to end
constexpr auto proof_look_time = 50ms;
constexpr unsigned looks_until_stuck = 4;
constexpr auto most_delay = 2000ms;             // between restarts, and between replacements of a connection
constexpr auto quick_death = 500ms;             // of a server: another one soon after may die as quickly
constexpr unsigned most_fruitless_deaths = 20;  // in a row: then the device is given up, and its readers get EIO

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

std::chrono::milliseconds next_delay(std::chrono::milliseconds delay, std::chrono::milliseconds most = most_delay) {
    return std::min(most, delay == 0ms ? 10ms : delay * 2);
}

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

// ---- the server ----

result<serve::server_setup> keeper::setup_now() {
    serve::server_setup setup;
    setup.connections = record_.connections;
    setup.block_size = static_cast<std::uint32_t>(record_.block_size);
    setup.export_name = record_.id;
    setup.pieces = pieces_;
    setup.journal = duplicate(journal_fd_);
    setup.control = duplicate(control_);
    for (const unique_fd& file : files_) setup.files.push_back(duplicate(file));
    for (const connection& c : connections_) (by_fuse() ? setup.fuse : setup.sockets).push_back(duplicate(c.socket));
    if (remote_) {
        NEROFS_TRY(setup.blobs, remote_.blobs());
        setup.fetcher = remote_.connect_server();
        setup.patience = remote_.patience();
    }
    if (device_ && device_->kept_fd()) setup.kept.push_back(duplicate(device_->kept_fd()));
    return setup;
}

void keeper::on_server_message() {
    const auto packet = server_.channel.receive_now();
    if (!packet) {
        // The end of the channel is the end of the process: its pidfd says so, too, and is what counts.
        if (packet.error().kind != error_kind::retryable) loop_.remove(server_.channel.fd());
        return;
    }
    wire_reader body(packet->bytes);
    switch (body.get<serve::message>()) {
        case serve::message::ready:
            server_ready_ = true;
            break;
        case serve::message::pong:
            if (ping_timer_) loop_.cancel(*ping_timer_);
            ping_timer_.reset();
            break;
        case serve::message::connection_ended: {
            const auto index = body.get<std::uint32_t>();
            const auto how = body.get<serve::connection_end>();
            if (body.done() && index < connections_.size()) on_connection_ended(index, how);
            break;
        }
        default:
            break;
    }
}

void keeper::on_server_death() {
    loop_.remove(server_.channel.fd());
    loop_.remove(server_.process.pidfd());
    if (ping_timer_) loop_.cancel(*ping_timer_);
    ping_timer_.reset();
    server_.channel.close();
    const std::string how = server_.process.reap();
    server_ready_ = false;
    if (ending_) return;

    // A server that answered something before it died is replaced at once, or soon if that is often. One that dies of
    // the very first thing it is asked would do so for ever.
    const bool progressed = replies() != replies_at_start_;
    const bool quick = std::chrono::steady_clock::now() - server_started_ < quick_death;
    fruitless_deaths_ = progressed ? 0 : fruitless_deaths_ + 1;
    restart_delay_ = !quick ? 0ms : next_delay(restart_delay_, progressed ? most_delay / 20 : most_delay);
    if (fruitless_deaths_ > most_fruitless_deaths) {
        log::error("the server " + how + ", for the " + std::to_string(fruitless_deaths_) +
                   "th time without an answer: giving up; readers of " + device_->name() + " get EIO");
        (void)device_->disconnect();
        finish("its server can't be kept running");
        return;
    }
    log::warning("the server " + how + "; starting another");
    if (restart_delay_ == 0ms)
        start_server_again();
    else
        loop_.at(os::in_time(restart_delay_), [this] { start_server_again(); });
}

// On the same sockets and journal: requests in flight are answered by the new one, from the byte where the dead one
// stopped.
void keeper::start_server_again() {
    if (ending_) return;
    ++restarts_;
    replies_at_start_ = replies();
    server_started_ = std::chrono::steady_clock::now();
    for (connection& c : connections_) c.ended.reset();  // the new server finds out again
    auto server = start_helper("nerofs-server", true);
    if (server) {
        const auto setup = setup_now();
        if (const status sent = setup ? serve::send_setup(server->channel, *setup) : fail(setup.error()); !sent) {
            server->process.kill(SIGKILL);
            log::warning("cannot set the server up: " + sent.error().message());
        }
        server_ = std::move(*server);
        if (loop_.add(server_.channel.fd(), [this] { on_server_message(); }) &&
            loop_.add(server_.process.pidfd(), [this] { on_server_death(); }))
            return;
    } else {
        log::error("cannot start a server: " + server.error().message());
    }
    restart_delay_ = next_delay(restart_delay_);
    loop_.at(os::in_time(restart_delay_), [this] { start_server_again(); });
}

// ---- the fetcher ----

status keeper::watch_fetcher() {
    NEROFS_CHECK(loop_.add(remote_.fetcher_messages(), [this] {
        // The end of its channel is the end of the process: its pidfd says so, too, and is what counts.
        if (!remote_.on_fetcher_message()) loop_.remove(remote_.fetcher_messages());
    }));
    return loop_.add(remote_.fetcher_ended(), [this] { on_fetcher_death(); });
}

// Misses wait for the next one; hits don't notice.
void keeper::on_fetcher_death() {
    loop_.remove(remote_.fetcher_messages());
    loop_.remove(remote_.fetcher_ended());
    std::chrono::milliseconds pause{0};
    const std::string how = remote_.bury_fetcher(pause);
    if (ending_) return;
    log::warning("the fetcher " + how + "; starting another");
    loop_.at(os::in_time(pause), [this] { start_fetcher_again(); });
}

void keeper::start_fetcher_again() {
    if (ending_) return;
    status started = remote_.restart_fetcher();
    if (started) started = watch_fetcher();
    if (!started) {
        log::error("cannot start a fetcher: " + started.error().message());
        loop_.at(os::in_time(most_delay), [this] { start_fetcher_again(); });
        return;
    }
    // A server that is being started is told by its set-up.
    if (const unique_fd channel = remote_.connect_server(); channel && server_.channel)
        (void)serve::send_fetcher(server_.channel, channel);
}

// One that hangs is replaced, and the cache is kept to its size.
void keeper::look_after_fetcher() {
    if (ending_) return;
    if (!remote_.fetcher_answers()) {
        log::warning("the fetcher doesn't answer; ending it");
        remote_.kill_fetcher();
    }
    remote_.keep_to_budget();
    loop_.at(os::in_time(fetcher_look_time), [this] { look_after_fetcher(); });
}

std::uint64_t keeper::replies() const {
    const serve::journal j(journal_memory_.data(), connections_.size());
    std::uint64_t sum = 0;
    for (std::size_t i = 0; i < connections_.size(); ++i)
        sum += j.connection(i).reply_bytes.load(std::memory_order_relaxed);
    return sum;
}

void keeper::on_connection_ended(std::uint32_t index, serve::connection_end how) {
    connections_[index].ended = how;
    if (ending_) return;
    if (by_fuse()) {
        if (how != serve::connection_end::disconnect)
            log::error("the FUSE file system can't be served any more; its readers get errors");
        else if (std::any_of(connections_.begin(), connections_.end(), [](const connection& c) { return !c.ended; }))
            return;
        finish("unmounted");
        return;
    }
    if (how == serve::connection_end::disconnect) {
        // The kernel says goodbye on every socket when the device is disconnected; one is enough.
        for (connection& c : connections_) ::shutdown(c.socket.get(), SHUT_RDWR);
        if (!device_->ended_event()) finish("the device was disconnected");
        return;
    }
    if (device_->ended_event()) {
        log::warning("a connection of " + device_->name() + " ended; ioctl can't replace it");
        return;
    }
    connection& c = connections_[index];
    const auto wait = c.delay;
    c.delay = next_delay(c.delay);
    loop_.at(os::in_time(wait), [this, index] { replace_connection(index); });
}

void keeper::replace_connection(std::uint32_t index) {
    connection& c = connections_[index];
    if (ending_ || !c.ended) return;
    if (!device_->connected()) {
        finish("the device was disconnected");
        return;
    }
    auto ends = os::stream_pair();
    // Nobody serves an ended connection, so its journal is the keeper's to clear. The server gets its end first: a
    // socket that the kernel has must have somebody behind it.
    serve::journal(journal_memory_.data(), connections_.size()).reset(index);
    if (!ends || !serve::send_replacement(server_.channel, index, ends->first))
        return;  // a dead server is started again
    loop_.remove(c.socket);
    c.socket = std::move(ends->first);
    c.ended.reset();
    (void)watch_hangup(c);
    log::info("connection " + std::to_string(index) + " of " + device_->name() + " is replaced");
    // If no socket was dead after all the kernel drops this one, its end closes with ours, and the server reports it.
    if (const status taken = device_->replace_socket(ends->second); !taken)
        log::warning("the kernel took no new connection: " + taken.error().message());
    else
        loop_.at(os::in_time(10 * most_delay), [this, index] { connections_[index].delay = 0ms; });
}

// A server that doesn't answer is replaced.
void keeper::check_server_lives() {
    if (ending_ || ping_timer_ || !server_ready_ || !serve::send_simple(server_.channel, serve::message::ping)) return;
    ping_timer_ = loop_.at(os::in_time(ping_time), [this] {
        ping_timer_.reset();
        log::warning("the server doesn't answer; ending it");
        server_.process.kill(SIGKILL);
    });
}

// Where no timer of the kernel's tells of a server that hangs, it is asked now and then.
void keeper::look_after_server() {
    if (ending_) return;
    check_server_lives();
    loop_.at(os::in_time(server_look_time), [this] { look_after_server(); });
}

// ---- the control socket ----

void keeper::on_control() {
    auto caller = os::accept_from(control_);
    if (!caller) return;
    const auto peer = os::peer_of(*caller);
    if (!peer || peer->uid != ::geteuid() || !serve::send_hello(*caller, serve::role::keeper)) return;
    answer(std::move(*caller));
}

void keeper::answer(os::channel caller) {
    const auto question = caller.receive(os::in_time(control_time));
    if (!question) return;
    switch (wire_reader(question->bytes).get<ctl::message>()) {
        case ctl::message::status:
            (void)ctl::send(caller, ctl::encode(status_now()));
            break;
        case ctl::message::fetch_all: {
            const status asked =
                remote_ ? remote_.fetch_all() : fail(error_kind::usage, "its image is on this machine already");
            (void)(asked ? ctl::send_simple(caller, ctl::message::done) : ctl::send_failed(caller, asked.error()));
            break;
        }
        case ctl::message::disconnect:
            if (const status done = device_->disconnect(); !done) {
                (void)ctl::send_failed(caller, done.error());
                break;
            }
            finish("disconnected on request");
            (void)ctl::send_simple(caller, ctl::message::done);
            break;
        case ctl::message::settle: {
            if (by_fuse()) {
                // Its end is told by the server, soon after the unmount. Nobody else has it if it doesn't come.
                settling_.push_back(std::move(caller));
                loop_.at(os::in_time(settle_time), [this] {
                    for (const os::channel& c : settling_) (void)ctl::send_settled(c, ctl::settled::in_use);
                    settling_.clear();
                });
                break;
            }
            if (unmount_watch_) on_unmounted();
            const bool going = ending_ || !device_->connected();
            (void)ctl::send_settled(caller, going ? ctl::settled::ending : ctl::settled::in_use);
            if (!going) break;
            finish("unmounted");
            // Held until this process is gone, so that the caller sees the end of everything as the end of the channel.
            (void)caller.release().release();
            break;
        }
        default:
            break;
    }
}

ctl::mount_status keeper::status_now() {
    ctl::mount_status s;
    s.id = record_.id;
    s.source = record_.source;
    s.target = record_.target;
    s.device = device_->path();
    s.transport = device_->transport();
    s.size_bytes = record_.identity.size_bytes;
    s.block_size = record_.block_size;
    s.connections = connections_.size();
    s.live_connections = static_cast<std::uint64_t>(
        std::count_if(connections_.begin(), connections_.end(), [](const connection& c) { return !c.ended; }));
    s.keeper_pid = ::getpid();
    s.server_pid = server_.process.pid();
    s.server_restarts = restarts_;
    const serve::journal j(journal_memory_.data(), connections_.size());
    for (std::size_t i = 0; i < connections_.size(); ++i) {
        const serve::connection_journal& c = j.connection(i);
        s.requests += c.requests.load(std::memory_order_relaxed);
        s.reply_bytes += c.reply_bytes.load(std::memory_order_relaxed);
        s.errors += c.errors.load(std::memory_order_relaxed);
        s.takeovers += c.takeovers.load(std::memory_order_relaxed);
    }
    s.attached_at = record_.attached_at;
    if (remote_) {
        s.remote = true;
        s.fetcher_pid = remote_.fetcher_pid();
        s.fetcher_restarts = remote_.fetcher_restarts();
        s.resolved = record_.remote_identity.resolved;
        s.fetched = remote_.statistics();
    }
    return s;
}

// ---- the end ----

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
