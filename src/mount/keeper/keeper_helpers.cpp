// The processes that the keeper has started, and their connections: whatever ends is replaced.
#include <signal.h>
#include <sys/socket.h>

#include <algorithm>

#include "base/log.h"
#include "base/wire.h"
#include "mount/keeper/keeper.h"

namespace nerofs::mount {
namespace {

using namespace std::chrono_literals;

constexpr auto ping_time = 2s;  // a server that lives answers at once
constexpr auto fetcher_look_time = 10s;
constexpr auto server_look_time = 10s;
constexpr auto most_delay = 2000ms;             // between restarts, and between replacements of a connection
constexpr auto quick_death = 500ms;             // of a server: another one soon after may die as quickly
constexpr unsigned most_fruitless_deaths = 20;  // in a row: then the device is given up, and its readers get EIO

std::chrono::milliseconds next_delay(std::chrono::milliseconds delay, std::chrono::milliseconds most = most_delay) {
    return std::min(most, delay == 0ms ? 10ms : delay * 2);
}

}  // namespace

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

}  // namespace nerofs::mount
