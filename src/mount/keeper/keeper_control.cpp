// What the keeper answers at the mount's control socket.
#include <unistd.h>

#include <algorithm>

#include "base/wire.h"
#include "mount/keeper/keeper.h"

namespace nerofs::mount {
namespace {

using namespace std::chrono_literals;

constexpr auto control_time = 1s;  // for a caller to ask its question
constexpr auto settle_time = 2s;   // for a FUSE file system that was unmounted to end

}  // namespace

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

}  // namespace nerofs::mount
