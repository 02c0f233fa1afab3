#include "serve/server_process.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <mutex>
#include <optional>
#include <string>
#include <system_error>
#include <thread>

#include "base/fault.h"
#include "base/log.h"
#include "base/wire.h"
#include "os/event_loop.h"
#include "os/shared_memory.h"
#include "serve/client_handshake.h"
#include "serve/fuse_channel.h"
#include "serve/messages.h"
#include "serve/sandbox.h"

namespace nerofs::serve {
namespace {

using namespace std::chrono_literals;

constexpr auto setup_time = 10s;      // a keeper sends its set-up at once, or has died
constexpr auto handshake_time = 10s;  // for an NBD client to finish its negotiation

template <class Function>
result<std::thread> start_thread(Function&& function) try {
    return std::thread(std::forward<Function>(function));
} catch (const std::system_error& e) {  // too many threads, or no memory for a stack
    return fail(errno_error(e.code().value(), "cannot start a thread"));
}

class server {
  public:
    server(os::channel keeper, server_setup setup, os::event_loop loop)
        : keeper_(std::move(keeper)), setup_(std::move(setup)), loop_(std::move(loop)) {}

    status run();

  private:
    // A connection to the kernel, in its own thread.
    struct link {
        unique_fd fd;  // a socket, or /dev/fuse
        std::thread thread;
        std::optional<connection_end> ended;
    };

    status open_blobs();
    status start_links();
    status start_link(std::uint32_t index, unique_fd fd);
    connection_end serve_link(std::uint32_t index, fd_ref fd);
    void on_link_events();
    void on_keeper();
    void on_fetcher();
    void set_fetcher(unique_fd channel);
    std::optional<waiter> make_waiter();
    void keeper_left();
    void on_adoption();
    void on_client(fd_ref listener);
    void serve_client(unique_fd socket);
    void report(std::uint32_t index, connection_end how);
    void close_all();

    os::channel keeper_;
    server_setup setup_;
    os::event_loop loop_;
    std::vector<blob_view> views_;
    image_map map_;
    std::optional<miss_desk> desk_;  // where there are blobs
    os::mapping journal_memory_;
    journal journal_;
    std::vector<link> links_;
    bool by_fuse_ = false;  // what the links are

    std::mutex mutex_;                                                // guards what connection threads touch
    std::vector<std::pair<std::uint32_t, connection_end>> finished_;  // links whose loop has ended, unreported
    std::uint32_t clients_ = 0;
    unique_fd wake_;  // an eventfd: finished_ has something
};

status server::run() {
    wake_ = unique_fd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    if (!wake_) return fail_errno("eventfd");
    NEROFS_CHECK(loop_.add(wake_, [this] { on_link_events(); }));
    NEROFS_CHECK(loop_.add(keeper_.fd(), [this] { on_keeper(); }));
    NEROFS_CHECK(open_blobs());
    NEROFS_TRY(map_, setup_.make_map(views_));
    NEROFS_CHECK(start_links());
    for (const unique_fd& listener : setup_.listeners)
        NEROFS_CHECK(loop_.add(listener, [this, fd = fd_ref(listener)] { on_client(fd); }));
    fault::point("server.ready");
    NEROFS_CHECK(send_simple(keeper_, message::ready));
    const status end = loop_.run();
    close_all();
    return end;
}

status server::open_blobs() {
    if (setup_.blobs.empty()) return {};
    std::vector<const blob_view*> watched;
    views_.reserve(setup_.blobs.size());
    for (const server_setup::blob& b : setup_.blobs) {
        // The set-up keeps the descriptors: they may have to be handed on.
        cache::reader_files files{duplicate(b.data), duplicate(b.map)};
        NEROFS_TRY(blob_view view,
                   blob_view::open(static_cast<std::uint32_t>(views_.size()), std::move(files), b.touched, b.size));
        watched.push_back(&views_.emplace_back(std::move(view)));
    }
    desk_.emplace(std::move(watched), setup_.patience);
    NEROFS_CHECK(desk_->start());
    set_fetcher(std::move(setup_.fetcher));
    return {};
}

status server::start_links() {
    if (!setup_.journal) return {};
    const std::size_t bytes = journal_bytes(setup_.connections);
    NEROFS_TRY(const std::uint64_t size, os::file_size(setup_.journal));
    if (size < bytes) return fail(error_kind::corrupt, "the journal is too small");
    NEROFS_TRY(journal_memory_, os::mapping::map(setup_.journal, bytes, true));
    journal_ = journal(journal_memory_.data(), setup_.connections);
    by_fuse_ = !setup_.fuse.empty();
    std::vector<unique_fd> fds = std::move(by_fuse_ ? setup_.fuse : setup_.sockets);
    links_.resize(fds.size());
    for (std::uint32_t i = 0; i < links_.size(); ++i) NEROFS_CHECK(start_link(i, std::move(fds[i])));
    setup_.sockets.clear();
    setup_.fuse.clear();
    return {};
}

status server::start_link(std::uint32_t index, unique_fd fd) {
    link& l = links_[index];
    l.fd = std::move(fd);
    NEROFS_TRY(l.thread, start_thread([this, index, device = fd_ref(l.fd)] {
                   ::prctl(PR_SET_NAME, ((by_fuse_ ? "fuse" : "nbd") + std::to_string(index)).c_str());
                   const connection_end how = serve_link(index, device);
                   const std::lock_guard lock(mutex_);
                   finished_.emplace_back(index, how);
                   const std::uint64_t one = 1;
                   (void)!::write(wake_.get(), &one, sizeof one);
               }));
    l.ended.reset();
    return {};
}

connection_end server::serve_link(std::uint32_t index, fd_ref fd) {
    if (by_fuse_) return fuse_channel(fd, map_, journal_, index, make_waiter()).run();
    return connection(fd, map_, journal_, index, {}, make_waiter()).run();
}

// Without one, what is missing is an error.
std::optional<waiter> server::make_waiter() {
    if (!desk_) return {};
    auto made = waiter::make(*desk_, map_);
    if (!made) log::error(made.error().message());
    return made ? std::optional(std::move(*made)) : std::nullopt;
}

void server::set_fetcher(unique_fd channel) {
    if (const fd_ref old = desk_->fetcher()) loop_.remove(old);
    desk_->set_fetcher(os::channel(std::move(channel)));
    if (const fd_ref now = desk_->fetcher()) (void)loop_.add(now, [this] { on_fetcher(); });
}

// Its death costs nothing but time: the keeper sends the channel of the next.
void server::on_fetcher() {
    if (!desk_->on_fetcher()) set_fetcher({});
}

void server::on_link_events() {
    std::uint64_t count;
    (void)!::read(wake_.get(), &count, sizeof count);
    std::vector<std::pair<std::uint32_t, connection_end>> finished;
    {
        const std::lock_guard lock(mutex_);
        finished.swap(finished_);
    }
    for (const auto& [index, how] : finished) {
        links_[index].thread.join();
        links_[index].ended = how;  // its descriptor stays open until it is replaced, so that it can be handed on
        report(index, how);
    }
}

void server::report(std::uint32_t index, connection_end how) {
    if (keeper_) {
        (void)send_connection_ended(keeper_, index, how);  // a keeper that is gone is noticed by on_keeper()
        return;
    }
    // Without a keeper nothing can be replaced: when the kernel has said goodbye on every socket, all is done.
    if (std::all_of(links_.begin(), links_.end(), [](const link& l) { return l.ended.has_value(); })) loop_.stop();
}

void server::on_keeper() {
    auto received = keeper_.receive_now();
    if (!received) {
        if (received.error().kind != error_kind::retryable) keeper_left();
        return;
    }
    wire_reader body(received->bytes);
    switch (body.get<message>()) {
        case message::ping:
            (void)send_simple(keeper_, message::pong);
            break;
        case message::set_fetcher:
            if (desk_ && received->fds.size() == 1) set_fetcher(std::move(received->fds.front()));
            break;
        case message::replace_socket: {
            const auto index = body.get<std::uint32_t>();
            if (by_fuse_ || !body.done() || index >= links_.size() || received->fds.size() != 1 ||
                !links_[index].ended) {
                log::error("a malformed replacement of a connection was ignored");
                break;
            }
            if (const status started = start_link(index, std::move(received->fds.front())); !started) {
                log::error(started.error().message());
                report(index, connection_end::closed);
            }
            break;
        }
        default:
            log::error("an unknown message of the keeper was ignored");
    }
}

// The mount goes on without its keeper; the next one finds this process at the mount's control socket.
void server::keeper_left() {
    loop_.remove(keeper_.fd());
    keeper_.close();
    if (!setup_.control) {  // nothing to wait for: a served image ends with the command that serves it
        loop_.stop();
        return;
    }
    log::warning("the keeper is gone; serving goes on ('nerofs reattach' gives the mount a keeper again)");
    if (!loop_.add(setup_.control, [this] { on_adoption(); })) loop_.stop();
    report(0, connection_end::closed);
}

void server::on_adoption() {
    auto caller = os::accept_from(setup_.control);
    if (!caller) return;
    // The control socket lies in a directory of root's; asking again costs nothing.
    const auto peer = os::peer_of(*caller);
    if (!peer || peer->uid != 0 || !send_hello(*caller, role::server)) return;
    auto wish = caller->receive(os::in_time(1s));
    if (!wish || wire_reader(wish->bytes).get<message>() != message::adopt) return;

    std::vector<unique_fd>& handed = by_fuse_ ? setup_.fuse : setup_.sockets;
    for (link& l : links_) handed.push_back(duplicate(l.fd));
    const status sent = send_setup(*caller, setup_);
    handed.clear();
    if (!sent) return;
    loop_.remove(setup_.control);
    keeper_ = std::move(*caller);
    if (!loop_.add(keeper_.fd(), [this] { on_keeper(); })) return loop_.stop();
    for (std::uint32_t i = 0; i < links_.size(); ++i)
        if (links_[i].ended) report(i, *links_[i].ended);
}

void server::on_client(fd_ref listener) {
    unique_fd socket(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
    if (!socket) return;
    const std::lock_guard lock(mutex_);
    if (clients_ >= setup_.connections) {
        log::warning("a client was turned away: " + std::to_string(clients_) + " are connected");
        return;
    }
    ++clients_;
    auto thread = start_thread([this, s = std::move(socket)]() mutable { serve_client(std::move(s)); });
    if (thread) return thread->detach();
    --clients_;
    log::warning("a client was turned away: " + thread.error().message());
}

void server::serve_client(unique_fd socket) {
    ::prctl(PR_SET_NAME, "nbd-client");
    const int on = 1;  // the end of a reply isn't held back for the client's next segment; fails on a unix socket
    ::setsockopt(socket.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    const export_description exported{map_.size(), setup_.block_size, setup_.export_name};
    if (const status agreed = negotiate(socket, exported, os::in_time(handshake_time)); agreed) {
        // Nobody takes over from here: the journal is this thread's own memory.
        const std::unique_ptr<connection_journal[]> memory(new connection_journal[2]());
        connection(socket, map_, journal(memory.get(), 1), 0, {}, make_waiter()).run();
    } else if (agreed.error().kind != error_kind::cancelled) {
        log::warning("a client was turned away: " + agreed.error().text);
    }
    socket.reset();
    const std::lock_guard lock(mutex_);
    --clients_;
}

void server::close_all() {
    for (link& l : links_) {
        if (!l.thread.joinable()) continue;
        if (by_fuse_) {
            l.thread.detach();  // it reads a device, which ends with the process or with the file system
            continue;
        }
        ::shutdown(l.fd.get(), SHUT_RDWR);
        l.thread.join();
    }
}

}  // namespace

int server_main(int control_fd) {
    ::signal(SIGPIPE, SIG_IGN);
    log::set_name("nerofs-server");
    const auto run = [control_fd]() -> status {
        fault::point("server.start");
        NEROFS_CHECK(enter_sandbox());
        os::channel keeper{unique_fd(control_fd)};
        NEROFS_TRY(os::packet packet, keeper.receive(os::in_time(setup_time)));
        NEROFS_TRY(server_setup setup,
                   decode_setup(std::move(packet), [&] { return keeper.receive(os::in_time(setup_time)); }));
        if (!setup.export_name.empty()) log::set_name("nerofs-server[" + setup.export_name + "]");
        NEROFS_TRY(os::event_loop loop, os::event_loop::make());
        fault::point("server.setup");
        // Never destroyed: threads that serve clients use it up to the end of the process.
        return (new server(std::move(keeper), std::move(setup), std::move(loop)))->run();
    };
    const status end = run();
    if (end) ::_exit(0);
    if (end.error().kind != error_kind::cancelled) log::error(end.error().message());
    ::_exit(end.error().kind == error_kind::cancelled ? 0 : 1);
}

}  // namespace nerofs::serve
