#include <netdb.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <memory>

#include "commands/actions.h"
#include "fetch/protocol/messages.h"
#include "mount/children.h"
#include "mount/front.h"

namespace nerofs::commands {
namespace {

constexpr unsigned default_clients = 64;

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

}  // namespace

status do_serve(const cli::nerofs_serve& command, const environment& env) {
    const auto run = [&]() -> status {
        NEROFS_TRY(mount::opened_source source, mount::open_source(command.source));
        // With or without extra devices: whoever mounts the export gives them.
        auto checked = mount::check_image(source.file, {0, false});
        if (!checked && checked.error().kind == error_kind::usage) checked = mount::check_image(source.file, {0, true});
        NEROFS_TRY(const fetch::image_info info, std::move(checked));

        serve::server_setup setup;
        setup.connections = command.connections.value_or(default_clients);
        setup.block_size = info.block_size;
        setup.export_name = command.name;
        setup.pieces.push_back({0, info.size_bytes, 0, 0});
        setup.files.push_back(std::move(source.file));
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
        std::fprintf(env.out, "serving '%s' (%llu bytes) at %s\n", command.source.c_str(),
                     static_cast<unsigned long long>(info.size_bytes), where.c_str());
        std::fflush(env.out);
        while (!os::wait_readable(std::array{fd_ref(interrupted), server.process.pidfd()},
                                  os::in_time(std::chrono::hours(24)))) {
        }
        const bool died =
            os::wait_readable(server.process.pidfd(), os::in_time(std::chrono::milliseconds(0))).has_value();
        if (!died) server.process.kill(SIGKILL);
        const std::string how = server.process.reap();
        if (died) return fail(error_kind::permanent, "the server (nerofs-server) " + how, EIO);
        return {};
    };
    auto done = run();
    if (!done) return fail(std::move(done).error().in("cannot serve '" + command.source + "'"));
    return {};
}

}  // namespace nerofs::commands
