// Reads a block device at random, past the page cache, compares every byte with a file, and meanwhile does harm to a
// process:
//
//     hammer [--readers N] [--seconds N] [--kill NAME [--signal N] [--every MS] [--stop-for MS]] DEVICE FILE
//
// Prints how many reads, mismatches and errors there were, and how long reads took. Exit status 1 if a byte was wrong
// or a read failed. `--kill NAME` signals all processes of that name each `--every` ms (`--stop-for`: SIGSTOP, and
// SIGCONT that many ms later).
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <memory>
#include <mutex>
#include <random>
#include <string>
#include <thread>
#include <vector>

namespace {

using clock_type = std::chrono::steady_clock;
using std::chrono::milliseconds;

struct options {
    unsigned readers = 4;
    unsigned seconds = 10;
    std::string kill_name;
    int signal = SIGKILL;
    unsigned every_ms = 1000;
    unsigned stop_for_ms = 0;
    std::string device;
    std::string file;
};

std::vector<pid_t> processes_named(const std::string& name) {
    std::vector<pid_t> found;
    const std::unique_ptr<DIR, int (*)(DIR*)> proc(::opendir("/proc"), &::closedir);
    while (const dirent* entry = proc ? ::readdir(proc.get()) : nullptr) {
        const int pid = std::atoi(entry->d_name);
        if (pid <= 0) continue;
        std::string comm;
        std::getline(std::ifstream("/proc/" + std::to_string(pid) + "/comm"), comm);
        if (comm == name.substr(0, 15)) found.push_back(pid);
    }
    return found;
}

struct outcome {
    std::mutex mutex;
    std::vector<double> latencies_ms;
    std::uint64_t wrong = 0;
    std::uint64_t failed = 0;
};

constexpr std::size_t largest = 1 << 20;

void read_and_compare(const options& o, const std::uint8_t* expected, std::uint64_t size, unsigned seed,
                      const std::atomic<bool>& stop, outcome& total) {
    const int device = ::open(o.device.c_str(), O_RDONLY | O_DIRECT | O_CLOEXEC);
    if (device < 0) {
        std::perror(o.device.c_str());
        std::exit(2);
    }
    void* memory = nullptr;
    if (::posix_memalign(&memory, 4096, largest) != 0) std::exit(2);
    const std::unique_ptr<void, void (*)(void*)> buffer(memory, &std::free);
    std::mt19937_64 random(seed);
    std::vector<double> latencies;
    std::uint64_t wrong = 0;
    std::uint64_t failed = 0;
    while (!stop) {
        // Mostly small ones, as a file system reads; some large.
        std::size_t length = 4096u << (random() % 4 == 0 ? random() % 9 : random() % 3);
        const std::uint64_t offset = random() % (size / 4096) * 4096;
        length = std::min<std::uint64_t>(length, size - offset);
        std::memset(memory, 0xa5, length);
        const auto start = clock_type::now();
        const ssize_t n = ::pread(device, memory, length, static_cast<off_t>(offset));
        latencies.push_back(std::chrono::duration<double, std::milli>(clock_type::now() - start).count());
        if (n != static_cast<ssize_t>(length)) {
            std::fprintf(stderr, "read of %zu bytes at %llu: %s\n", length, static_cast<unsigned long long>(offset),
                         n < 0 ? std::strerror(errno) : "short");
            ++failed;
            std::this_thread::sleep_for(milliseconds(10));
        } else if (std::memcmp(memory, expected + offset, length) != 0) {
            std::fprintf(stderr, "WRONG BYTES in %zu bytes at %llu\n", length, static_cast<unsigned long long>(offset));
            ++wrong;
        }
    }
    ::close(device);
    const std::lock_guard lock(total.mutex);
    total.latencies_ms.insert(total.latencies_ms.end(), latencies.begin(), latencies.end());
    total.wrong += wrong;
    total.failed += failed;
}

unsigned do_harm(const options& o, clock_type::time_point end) {
    unsigned harmed = 0;
    for (auto next = clock_type::now() + milliseconds(o.every_ms); next < end; next += milliseconds(o.every_ms)) {
        std::this_thread::sleep_until(next);
        for (const pid_t pid : processes_named(o.kill_name)) {
            ++harmed;
            if (o.stop_for_ms == 0) {
                ::kill(pid, o.signal);
            } else {
                ::kill(pid, SIGSTOP);
                std::this_thread::sleep_for(milliseconds(o.stop_for_ms));
                ::kill(pid, SIGCONT);
            }
        }
    }
    return harmed;
}

int run(const options& o) {
    const int file = ::open(o.file.c_str(), O_RDONLY | O_CLOEXEC);
    struct stat found {};
    if (file < 0 || ::fstat(file, &found) != 0) {
        std::perror(o.file.c_str());
        return 2;
    }
    const auto size = static_cast<std::uint64_t>(found.st_size) / 4096 * 4096;
    const auto* expected =
        static_cast<const std::uint8_t*>(::mmap(nullptr, size, PROT_READ, MAP_PRIVATE | MAP_POPULATE, file, 0));
    if (expected == MAP_FAILED) return 2;

    std::atomic<bool> stop{false};
    outcome total;
    std::vector<std::thread> readers;
    const auto end = clock_type::now() + std::chrono::seconds(o.seconds);
    for (unsigned i = 0; i < o.readers; ++i)
        readers.emplace_back([&, i] { read_and_compare(o, expected, size, 1000 + i, stop, total); });
    const unsigned harmed = o.kill_name.empty() ? 0 : do_harm(o, end);
    std::this_thread::sleep_until(end);
    stop = true;
    for (std::thread& t : readers) t.join();

    std::vector<double>& ms = total.latencies_ms;
    std::sort(ms.begin(), ms.end());
    const auto percentile = [&ms](double p) {
        return ms.empty() ? 0
                          : ms[std::min(ms.size() - 1, static_cast<std::size_t>(p * static_cast<double>(ms.size())))];
    };
    const auto slower = [&ms](double than) { return ms.end() - std::upper_bound(ms.begin(), ms.end(), than); };
    std::printf("reads=%zu wrong=%llu failed=%llu harmed=%u\n", ms.size(), static_cast<unsigned long long>(total.wrong),
                static_cast<unsigned long long>(total.failed), harmed);
    std::printf("latency_ms p50=%.1f p99=%.1f p99.9=%.1f max=%.1f; over 100 ms: %td, over 500 ms: %td, over 1 s: %td\n",
                percentile(0.5), percentile(0.99), percentile(0.999), ms.empty() ? 0 : ms.back(), slower(100),
                slower(500), slower(1000));
    return total.wrong == 0 && total.failed == 0 ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
    options o;
    std::vector<std::string> names;
    for (int i = 1; i < argc; ++i) {
        const std::string flag = argv[i];
        const auto number = [&] { return i + 1 < argc ? static_cast<unsigned>(std::atoi(argv[++i])) : 0u; };
        if (flag == "--readers")
            o.readers = number();
        else if (flag == "--seconds")
            o.seconds = number();
        else if (flag == "--signal")
            o.signal = static_cast<int>(number());
        else if (flag == "--every")
            o.every_ms = number();
        else if (flag == "--stop-for")
            o.stop_for_ms = number();
        else if (flag == "--kill" && i + 1 < argc)
            o.kill_name = argv[++i];
        else
            names.push_back(flag);
    }
    if (names.size() != 2) {
        std::fprintf(stderr, "usage: hammer [OPTIONS] DEVICE FILE (see its source)\n");
        return 2;
    }
    o.device = names[0];
    o.file = names[1];
    return run(o);
}
