// random_reader: how many random reads a second an NBD server on a unix socket answers.
#include <fcntl.h>
#include <getopt.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <thread>

#include "os/files.h"
#include "os/shared_memory.h"
#include "serve/reader.h"

namespace nerofs::bench {
namespace {

constexpr const char* usage =
    "Usage: random_reader [OPTION]... SOCKET\n"
    "Reads at random offsets from the NBD server at the unix socket; prints the number of replies, the replies a\n"
    "second and the MB a second.\n"
    "  --connections N   each with a thread (default 1)\n"
    "  --depth N         requests in flight on each connection (default 32)\n"
    "  --length BYTES    of each read (default 4096)\n"
    "  --seconds S       how long (default 1)\n"
    "  --kernel          one system call for each request, header and page, as Linux's driver does\n"
    "  --verify FILE     compare all that comes with this file: slower\n";

struct options {
    load what;
    unsigned connections = 1;
    double seconds = 1;
    std::string verify;
    std::string socket;
};

status receive_all(fd_ref socket, void* into, std::size_t bytes) {
    const ssize_t n = ::recv(socket.get(), into, bytes, MSG_WAITALL);
    if (n < 0) return fail_errno("recv");
    if (static_cast<std::size_t>(n) != bytes) return fail(error_kind::permanent, "the server closed the connection");
    return {};
}

// The oldest form of the negotiation, which every server knows: the export's name, no answer but its size.
result<unique_fd> connect_to(const std::string& path, std::uint64_t& device_bytes) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (path.size() >= sizeof address.sun_path) return fail(error_kind::usage, "the socket's path is too long");
    std::memcpy(address.sun_path, path.data(), path.size());
    unique_fd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (!socket || ::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
        return fail_errno("connect");
    nbd::greeting hello;
    NEROFS_CHECK(receive_all(socket, &hello, sizeof hello));
    if (hello.passwd != nbd::init_passwd || hello.magic != nbd::opts_magic)
        return fail(error_kind::corrupt, "no NBD server");
    struct {
        be32 flags = nbd::flag_c_fixed_newstyle | nbd::flag_c_no_zeroes;
        nbd::option_header option{nbd::opts_magic, static_cast<std::uint32_t>(nbd::opt::export_name), 0};
    } question;
    if (::send(socket.get(), &question, sizeof question, MSG_NOSIGNAL) != static_cast<ssize_t>(sizeof question))
        return fail_errno("send");
    nbd::export_name_reply answer;
    NEROFS_CHECK(receive_all(socket, &answer, sizeof answer));
    device_bytes = answer.size;
    return socket;
}

status run(options o) {
    std::vector<unique_fd> sockets;
    for (unsigned i = 0; i < o.connections; ++i) {
        NEROFS_TRY(unique_fd socket, connect_to(o.socket, o.what.device_bytes));
        sockets.push_back(std::move(socket));
    }
    if (o.what.device_bytes < o.what.length) return fail(error_kind::usage, "the device is too small");
    os::mapping file;
    std::span<const std::byte> expected;
    if (!o.verify.empty()) {
        NEROFS_TRY(const unique_fd opened, os::open_file(o.verify, O_RDONLY));
        NEROFS_TRY(file, os::mapping::map(opened, o.what.device_bytes, false));
        expected = {static_cast<const std::byte*>(file.data()), o.what.device_bytes};
    }

    const auto start = reader::clock::now();
    const auto until =
        start + std::chrono::duration_cast<reader::clock::duration>(std::chrono::duration<double>(o.seconds));
    std::vector<result<std::uint64_t>> results(o.connections, 0);
    {
        std::vector<std::jthread> threads;
        for (unsigned i = 0; i < o.connections; ++i)
            threads.emplace_back([&, i] { results[i] = reader(sockets[i], o.what, i + 1, expected).run(until); });
    }
    const double seconds = std::chrono::duration<double>(reader::clock::now() - start).count();
    std::uint64_t replies = 0;
    for (auto& r : results) {
        NEROFS_TRY(const std::uint64_t n, std::move(r));
        replies += n;
    }
    const double rate = static_cast<double>(replies) / seconds;
    std::printf("%llu %.0f %.1f\n", static_cast<unsigned long long>(replies), rate, rate * o.what.length / 1e6);
    return {};
}

}  // namespace
}  // namespace nerofs::bench

int main(int argc, char** argv) {
    using namespace nerofs::bench;
    enum : int { connections = 'c', depth = 'd', length = 'l', seconds = 's', kernel = 'k', verify = 'v', help = 'h' };
    constexpr option known[] = {
        {"connections", required_argument, nullptr, connections},
        {"depth", required_argument, nullptr, depth},
        {"length", required_argument, nullptr, length},
        {"seconds", required_argument, nullptr, seconds},
        {"kernel", no_argument, nullptr, kernel},
        {"verify", required_argument, nullptr, verify},
        {"help", no_argument, nullptr, help},
        {},
    };
    options o;
    for (int c; (c = ::getopt_long(argc, argv, "", known, nullptr)) != -1;) {
        const auto number = [] { return static_cast<unsigned>(std::strtoul(optarg, nullptr, 10)); };
        switch (c) {
            case connections:
                o.connections = number();
                break;
            case depth:
                o.what.depth = number();
                break;
            case length:
                o.what.length = number();
                break;
            case seconds:
                o.seconds = std::strtod(optarg, nullptr);
                break;
            case kernel:
                o.what.how = manner::kernel;
                break;
            case verify:
                o.verify = optarg;
                break;
            case help:
                std::fputs(usage, stdout);
                return 0;
            default:
                std::fputs(usage, stderr);
                return 2;
        }
    }
    if (optind + 1 != argc || o.connections == 0 || o.what.depth == 0 || o.what.length == 0) {
        std::fputs(usage, stderr);
        return 2;
    }
    o.socket = argv[optind];
    if (const nerofs::status done = run(o); !done) {
        std::fprintf(stderr, "random_reader: %s\n", done.error().message().c_str());
        return 1;
    }
    return 0;
}
