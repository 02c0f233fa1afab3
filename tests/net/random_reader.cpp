// random_reader URI FILE [CONNECTIONS [READS]]: reads an NBD export at random places and lengths over several
// connections at once and compares with the file. URI is unix:PATH or tcp:HOST:PORT. Exit status 0: all the same.
#include <fcntl.h>
#include <netdb.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <string>
#include <thread>

#include "nbd/protocol.h"
#include "support/kernel_client/kernel_client.h"

namespace nerofs {
namespace {

[[noreturn]] void die(const std::string& what) {
    std::fprintf(stderr, "random_reader: %s: %s\n", what.c_str(), std::strerror(errno));
    std::exit(2);
}

unique_fd connect_to(const std::string& uri) {
    if (uri.starts_with("unix:")) {
        sockaddr_un address{};
        address.sun_family = AF_UNIX;
        uri.copy(address.sun_path, sizeof address.sun_path - 1, 5);
        unique_fd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
        if (::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) die(uri);
        return socket;
    }
    const std::size_t colon = uri.rfind(':');
    addrinfo hints{};
    hints.ai_socktype = SOCK_STREAM;
    addrinfo* found = nullptr;
    if (::getaddrinfo(uri.substr(4, colon - 4).c_str(), uri.substr(colon + 1).c_str(), &hints, &found) != 0) die(uri);
    unique_fd socket(::socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (::connect(socket.get(), found->ai_addr, found->ai_addrlen) != 0) die(uri);
    ::freeaddrinfo(found);
    return socket;
}

template <class T>
T receive(fd_ref socket) {
    T packet;
    if (::recv(socket.get(), &packet, sizeof packet, MSG_WAITALL) != static_cast<ssize_t>(sizeof packet))
        die("receive");
    return packet;
}

// The oldest way in there is: EXPORT_NAME of the default export, its zeroes included. Returns the export's size.
std::uint64_t negotiate(fd_ref socket) {
    if (receive<nbd::greeting>(socket).magic != nbd::opts_magic) die("greeting");
    struct {
        be32 flags = nbd::flag_c_fixed_newstyle;
        nbd::option_header option;
    } hello;
    hello.option.magic = nbd::opts_magic;
    hello.option.option = static_cast<std::uint32_t>(nbd::opt::export_name);
    hello.option.length = 0u;
    static_assert(sizeof hello == 20);
    if (::send(socket.get(), &hello, sizeof hello, MSG_NOSIGNAL) != sizeof hello) die("send");
    const auto answer = receive<nbd::export_name_reply>(socket);
    if ((answer.flags & nbd::flag_read_only) == 0 || (answer.flags & nbd::flag_can_multi_conn) == 0) die("flags");
    (void)receive<std::array<char, nbd::export_name_zeroes>>(socket);
    return answer.size;
}

int run(const std::string& uri, const char* path, unsigned connections, unsigned reads) {
    const unique_fd file(::open(path, O_RDONLY | O_CLOEXEC));
    struct stat found {};
    if (!file || ::fstat(file.get(), &found) != 0) die(path);
    const auto file_size = static_cast<std::uint64_t>(found.st_size);
    const auto* right = static_cast<const std::byte*>(::mmap(nullptr, file_size, PROT_READ, MAP_SHARED, file.get(), 0));

    std::vector<unique_fd> sockets;
    std::uint64_t size = 0;
    for (unsigned i = 0; i < connections; ++i) {
        sockets.push_back(connect_to(uri));
        size = negotiate(sockets.back());
        if (size > file_size) die("the export is larger than the file");
    }
    test::kernel_client client(std::move(sockets), size, {.timeout = std::chrono::minutes(2)});
    std::atomic<unsigned> bad = 0;
    {
        std::vector<std::jthread> threads;
        for (unsigned t = 0; t < 4 * connections; ++t) {
            threads.emplace_back([&, t] {
                std::mt19937_64 random(t);
                const std::uint64_t longest[] = {1, 512, 4096, 4096, 70000, 1u << 20};
                for (unsigned i = 0; i < reads; ++i) {
                    const auto length = std::min(size, 1 + random() % longest[random() % std::size(longest)]);
                    const auto offset = random() % (size - length + 1);
                    const auto got = client.read(offset, static_cast<std::uint32_t>(length));
                    if (!got || std::memcmp(got->data(), right + offset, length) != 0) {
                        std::fprintf(stderr, "%llu bytes at %llu: %s\n", static_cast<unsigned long long>(length),
                                     static_cast<unsigned long long>(offset),
                                     got ? "differ" : got.error().message().c_str());
                        ++bad;
                    }
                }
            });
        }
    }
    client.disconnect();
    for (const auto& v : client.violations()) std::fprintf(stderr, "%s\n", v.text.c_str());
    std::printf("%llu reads\n", static_cast<unsigned long long>(client.statistics().reads));
    return bad != 0 || !client.violations().empty() ? 1 : 0;
}

}  // namespace
}  // namespace nerofs

int main(int argc, char** argv) {
    if (argc < 3) {
        std::fprintf(stderr, "usage: random_reader unix:PATH|tcp:HOST:PORT FILE [CONNECTIONS [READS]]\n");
        return 2;
    }
    const auto number = [&](int i, int otherwise) {
        return static_cast<unsigned>(argc > i ? std::atoi(argv[i]) : otherwise);
    };
    return nerofs::run(argv[1], argv[2], number(3, 2), number(4, 200));
}
