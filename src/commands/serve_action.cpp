#include <netdb.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <memory>
#include <vector>

#include "cli/source_spec.h"
#include "commands/actions.h"
#include "commands/remote_request.h"
#include "fetch/protocol/messages.h"
#include "mount/children.h"
#include "mount/front.h"
#include "mount/remote_image.h"

namespace nerofs::commands {
namespace {

using namespace std::chrono_literals;

constexpr unsigned default_clients = 64;
constexpr auto look_after_time = 10s;

bool is_ready(fd_ref fd) {
    return fd && os::wait_readable(fd, os::in_time(0ms)).has_value();
}

result<unique_fd> listen_on_path(const std::string& path) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (path.size() >= sizeof address.sun_path) return fail(errno_error(ENAMETOOLONG, "socket '" + path + "'"));
    std::memcpy(address.sun_path, path.data(), path.size());
    unique_fd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (!socket) return fail_errno("socket");
    if (::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 ||
        ::listen(socket.get(), 64) != 0)
        return fail(errno_error("cannot listen at '" + path + "'"));
    return socket;
}

struct tcp_listener {
    unique_fd socket;
    std::uint16_t port = 0;
};

result<tcp_listener> listen_on_tcp(const cli::listen_address& where) {
    addrinfo hints{};
    hints.ai_socktype = SOCK_STREAM;
    hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV;
    addrinfo* found = nullptr;
    const std::string port = std::to_string(where.port);
    const std::string name = "'" + where.host + ":" + port + "'";
    if (const int code = ::getaddrinfo(where.host.empty() ? nullptr : where.host.c_str(), port.c_str(), &hints, &found))
        return fail(error_kind::not_found, "cannot listen on " + name + ": " + ::gai_strerror(code));
    const std::unique_ptr<addrinfo, void (*)(addrinfo*)> list(found, &::freeaddrinfo);
    tcp_listener listener;
    listener.socket = unique_fd(::socket(list->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const int on = 1;
    ::setsockopt(listener.socket.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (::bind(listener.socket.get(), list->ai_addr, list->ai_addrlen) != 0 || ::listen(listener.socket.get(), 64) != 0)
        return fail(errno_error("cannot listen on " + name));
    sockaddr_storage bound{};
    socklen_t size = sizeof bound;
    if (::getsockname(listener.socket.get(), reinterpret_cast<sockaddr*>(&bound), &size) == 0)
        listener.port = ntohs(bound.ss_family == AF_INET6 ? reinterpret_cast<const sockaddr_in6&>(bound).sin6_port
                                                          : reinterpret_cast<const sockaddr_in&>(bound).sin_port);
    return listener;
}

// Removes the socket's name at the end, however it comes.
struct path_remover {
    std::string path;
    ~path_remover() {
        if (!path.empty()) ::unlink(path.c_str());
    }
};

// What is to be served goes into the set-up, and a fetcher for it into `remote`, if it takes one.
result<fetch::image_info> open_image(const cli::nerofs_serve& command, serve::server_setup& setup,
                                     mount::remote_image& remote) {
    struct stat found {};
    const bool there = ::stat(command.source.c_str(), &found) == 0;
    if (!there && command.source.find("://") != std::string::npos) {
        NEROFS_TRY(const cli::source_spec spec,
                   cli::classify_source(command.source, command.options, cli::local_entry::none));
        NEROFS_TRY(remote_wish wish, remote_wish_of(spec, command.options));
        NEROFS_TRY(remote, open_by_itself({wish.source, wish.secrets, wish.cache}));
        NEROFS_TRY(setup.blobs, remote.blobs());
        setup.fetcher = remote.connect_server();
        setup.patience = remote.patience();
        NEROFS_TRY(setup.pieces, remote.pieces(remote.info().size_bytes, setup.files));
        return remote.info();
    }
    NEROFS_TRY(mount::opened_source source, mount::open_source(command.source));
    // With or without extra devices: whoever mounts the export gives them.
    auto checked = mount::check_image(source.file, {0, false});
    if (!checked && checked.error().kind == error_kind::usage) checked = mount::check_image(source.file, {0, true});
    NEROFS_TRY(const fetch::image_info info, std::move(checked));
    setup.pieces.push_back({0, info.size_bytes, 0, 0, false});
    setup.files.push_back(std::move(source.file));
    return info;
}

// Until it is interrupted (false) or the server has died (true). A fetcher that dies is replaced.
result<bool> look_after(const mount::child& server, mount::remote_image& remote, fd_ref interrupted) {
    for (;;) {
        std::vector<fd_ref> events{interrupted, server.process.pidfd()};
        if (remote && remote.fetcher_ended()) {
            events.push_back(remote.fetcher_ended());
            if (remote.fetcher_messages()) events.push_back(remote.fetcher_messages());
        }
        (void)os::wait_readable(events, os::in_time(look_after_time));
        if (is_ready(server.process.pidfd())) return true;
        if (is_ready(interrupted)) return false;
        if (!remote) continue;
        NEROFS_TRY(const bool replaced, remote.look_after(interrupted));
        if (!replaced) continue;
        if (const unique_fd channel = remote.connect_server()) (void)serve::send_fetcher(server.channel, channel);
    }
}

}  // namespace

status do_serve(const cli::nerofs_serve& command, const environment& env) {
    const auto run = [&]() -> status {
        serve::server_setup setup;
        mount::remote_image remote;
        NEROFS_TRY(const fetch::image_info info, open_image(command, setup, remote));
        setup.connections = command.connections.value_or(default_clients);
        setup.block_size = info.block_size;
        setup.export_name = command.name;
        path_remover remover;
        std::string where;
        if (!command.socket.empty()) {
            NEROFS_TRY(unique_fd listener, listen_on_path(command.socket));
            remover.path = command.socket;
            setup.listeners.push_back(std::move(listener));
            where = "nbd+unix:///" + command.name + "?socket=" + command.socket;
        }
        if (command.listen) {
            NEROFS_TRY(tcp_listener listener, listen_on_tcp(*command.listen));
            const bool v6 = command.listen->host.find(':') != std::string::npos;
            const std::string host = command.listen->host.empty() ? "localhost" : command.listen->host;
            setup.listeners.push_back(std::move(listener.socket));
            if (!where.empty()) where += " and ";
            where +=
                "nbd://" + (v6 ? "[" + host + "]" : host) + ":" + std::to_string(listener.port) + "/" + command.name;
        }
        // Blocked before the server starts, so that none is lost between.
        sigset_t signals;
        sigemptyset(&signals);
        sigaddset(&signals, SIGINT);
        sigaddset(&signals, SIGTERM);
        ::sigprocmask(SIG_BLOCK, &signals, nullptr);
        const unique_fd interrupted(::signalfd(-1, &signals, SFD_CLOEXEC));
        if (!interrupted) return fail_errno("signalfd");

        NEROFS_TRY(mount::child server, mount::start_server(setup));
        std::fprintf(env.out, "serving '%s' (%llu bytes) at %s\n", shown_source(command.source).c_str(),
                     static_cast<unsigned long long>(info.size_bytes), where.c_str());
        std::fflush(env.out);
        NEROFS_TRY(const bool died, look_after(server, remote, interrupted));
        if (!died) server.process.kill(SIGKILL);
        const std::string how = server.process.reap();
        if (remote) remote.close();
        if (died) return fail(error_kind::permanent, "the server (nerofs-server) " + how, EIO);
        return {};
    };
    auto done = run();
    if (!done) return fail(std::move(done).error().in("cannot serve '" + shown_source(command.source) + "'"));
    return {};
}

}  // namespace nerofs::commands
