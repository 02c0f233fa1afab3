// reply_size: from which length on a reply is better sent by sendfile(2) than copied
// (connection_options.file_send_bytes). Runs the server's own request loop in a thread for each connection, over socket
// pairs, with a client beside it.
#include <fcntl.h>
#include <getopt.h>
#include <sys/resource.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <memory>
#include <string>
#include <thread>

#include "os/channel.h"
#include "os/files.h"
#include "os/shared_memory.h"
#include "serve/connection.h"
#include "serve/reader.h"

namespace nerofs::bench {
namespace {

constexpr const char* usage =
    "Usage: reply_size [OPTION]... FILE\n"
    "Random reads of several lengths from FILE, copied and by sendfile: MB a second, the median of the rounds, and "
    "the\n"
    "processor time a reply takes in the server's threads.\n"
    "  --connections N   (default 1)\n"
    "  --rounds N        (default 3)\n"
    "  --seconds S       for each measurement (default 0.3)\n"
    "  --kernel          the client takes the data in pieces of 4 KiB, as Linux's driver does\n";

struct options {
    unsigned connections = 1;
    unsigned rounds = 3;
    double seconds = 0.3;
    manner how = manner::batched;
    std::string file;
};

struct figures {
    double megabytes = 0;     // a second
    double microseconds = 0;  // of processor time in the server for each reply
};

double thread_seconds() {
    rusage used{};
    ::getrusage(RUSAGE_THREAD, &used);
    const auto seconds = [](const timeval& t) {
        return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) / 1e6;
    };
    return seconds(used.ru_utime) + seconds(used.ru_stime);
}

result<figures> measure(const options& o, const serve::image_map& map, load what, std::uint32_t file_send_bytes) {
    const std::unique_ptr<serve::connection_journal[]> memory(new serve::connection_journal[1 + o.connections]());
    const serve::journal journal(memory.get(), o.connections);
    std::vector<std::pair<unique_fd, unique_fd>> pairs;
    for (unsigned i = 0; i < o.connections; ++i) {
        NEROFS_TRY(auto pair, os::stream_pair());
        pairs.push_back(std::move(pair));
    }
    std::vector<double> server_seconds(o.connections);
    std::vector<result<std::uint64_t>> replies(o.connections, 0);
    const auto start = reader::clock::now();
    const auto until =
        start + std::chrono::duration_cast<reader::clock::duration>(std::chrono::duration<double>(o.seconds));
    double seconds = 0;
    {
        std::vector<std::jthread> servers;
        std::vector<std::jthread> clients;
        for (unsigned i = 0; i < o.connections; ++i) {
            servers.emplace_back([&, i] {
                serve::connection_options settings;
                settings.file_send_bytes = file_send_bytes;
                serve::connection(pairs[i].first, map, journal, i, settings).run();
                server_seconds[i] = thread_seconds();
            });
            clients.emplace_back([&, i] {
                replies[i] = reader(pairs[i].second, what, i + 1).run(until);
                pairs[i].second.reset();
            });
        }
        clients.clear();
        seconds = std::chrono::duration<double>(reader::clock::now() - start).count();
    }
    double count = 0;
    double used = 0;
    for (unsigned i = 0; i < o.connections; ++i) {
        NEROFS_TRY(const std::uint64_t n, std::move(replies[i]));
        count += static_cast<double>(n);
        used += server_seconds[i];
    }
    return figures{count * what.length / seconds / 1e6, used / count * 1e6};
}

figures median(std::vector<figures> of) {
    figures middle;
    const auto half = of.begin() + static_cast<std::ptrdiff_t>(of.size() / 2);
    std::nth_element(of.begin(), half, of.end(), [](auto& a, auto& b) { return a.megabytes < b.megabytes; });
    middle.megabytes = half->megabytes;
    std::nth_element(of.begin(), half, of.end(), [](auto& a, auto& b) { return a.microseconds < b.microseconds; });
    middle.microseconds = half->microseconds;
    return middle;
}

status run(const options& o) {
    NEROFS_TRY(const unique_fd file, os::open_file(o.file, O_RDONLY));
    NEROFS_TRY(const std::uint64_t size, os::file_size(file));
    NEROFS_TRY(const serve::image_map map, serve::image_map::make({{0, size, file, 0}}));
    std::printf("%8s %6s %12s %12s %6s %12s %12s\n", "KiB", "depth", "copy MB/s", "file MB/s", "ratio", "copy us",
                "file us");
    for (const std::uint32_t kib : {4u, 16u, 32u, 64u, 128u, 256u, 1024u}) {
        load what{size, kib * 1024, kib < 64 ? 32u : 8u, o.how};
        std::vector<figures> copied;
        std::vector<figures> by_file;
        for (unsigned round = 0; round < o.rounds; ++round) {
            NEROFS_TRY(const figures c, measure(o, map, what, std::numeric_limits<std::uint32_t>::max()));
            NEROFS_TRY(const figures f, measure(o, map, what, 1));
            copied.push_back(c);
            by_file.push_back(f);
        }
        const figures c = median(copied);
        const figures f = median(by_file);
        std::printf("%8u %6u %12.0f %12.0f %6.2f %12.1f %12.1f\n", kib, what.depth, c.megabytes, f.megabytes,
                    f.megabytes / c.megabytes, c.microseconds, f.microseconds);
        std::fflush(stdout);
    }
    return {};
}

}  // namespace
}  // namespace nerofs::bench

int main(int argc, char** argv) {
    using namespace nerofs::bench;
    enum : int { connections = 'c', rounds = 'r', seconds = 's', kernel = 'k', help = 'h' };
    constexpr option known[] = {
        {"connections", required_argument, nullptr, connections},
        {"rounds", required_argument, nullptr, rounds},
        {"seconds", required_argument, nullptr, seconds},
        {"kernel", no_argument, nullptr, kernel},
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
            case rounds:
                o.rounds = number();
                break;
            case seconds:
                o.seconds = std::strtod(optarg, nullptr);
                break;
            case kernel:
                o.how = manner::kernel;
                break;
            case help:
                std::fputs(usage, stdout);
                return 0;
            default:
                std::fputs(usage, stderr);
                return 2;
        }
    }
    if (optind + 1 != argc || o.connections == 0 || o.rounds == 0) {
        std::fputs(usage, stderr);
        return 2;
    }
    o.file = argv[optind];
    if (const nerofs::status done = run(o); !done) {
        std::fprintf(stderr, "reply_size: %s\n", done.error().message().c_str());
        return 1;
    }
    return 0;
}
