// What a keeper does for the FUSE transport, alone: starts nerofs-server on a FUSE superblock, mounts the image that it
// serves, starts a server again whenever one dies, and at the end unmounts and sees that everything ends by itself.
//
//     fuse_keeper [OPTION...] IMAGE DIR [-- COMMAND...]
//
//     --loop            mount a loop device over the file, not the file itself
//     --options TEXT    of the EROFS mount
//     --channels N      descriptors of /dev/fuse, one thread of the server each (2)
//     --fault PLAN      for the first server (NEROFS_FAULT)
//     --read TREE       compare random pieces of the mounted files with those of TREE, past EROFS' page cache ...
//     --seconds N       ... for so long (3), by four threads
//     --kill-every MS   kill the server each so many ms, more or less
//     --lazy MS         nothing of the image is there; what is missing comes so many ms after the server asked for it
//     --truncate N      cut the image file to N bytes when it is mounted
//     --silent          nobody serves: opening the file has to give up
//     --cached          how much of the FUSE file lies in the page cache, at the end
//
// What a front does (open, mount, read, unmount) is done by a child, which has no descriptor of the device: a process
// that waits for the file system can't be ended as long as somebody could still answer it.
//
// COMMAND runs while the image is mounted. Prints "mounted (HOW)", "reads=N wrong=N failed=N", "servers=N ...
// fetched=N", "cached=BYTES", "ended"; exit status 1 and a line on stderr when something isn't as it should be.
#include <fcntl.h>
#include <linux/loop.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <filesystem>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "base/wire.h"
#include "cache/presence/live_map.h"
#include "cache/presence/miss_messages.h"
#include "os/files.h"
#include "os/fuse_mount.h"
#include "os/process.h"
#include "os/shared_memory.h"
#include "serve/messages.h"

namespace {

using namespace nerofs;
using namespace std::chrono_literals;
namespace fs = std::filesystem;

struct options {
    bool loop = false;
    bool silent = false;
    bool cached = false;
    std::string mount_options;
    unsigned channels = 2;
    std::string fault;
    std::string tree;
    unsigned seconds = 3;
    unsigned kill_every_ms = 0;
    long truncate_to = -1;
    unsigned lazy_ms = 0;
    std::string image;
    std::string directory;
    std::vector<char*> command;
};

[[noreturn]] void give_up(const std::string& why) {
    std::fprintf(stderr, "fuse_keeper: %s\n", why.c_str());
    std::fflush(stdout);
    ::_exit(1);
}

template <class T>
T need(result<T> r) {
    if (!r) give_up(r.error().message());
    return std::move(*r);
}

class keeper {
  public:
    explicit keeper(const options& o) : options_(o), image_(need(os::open_file(o.image, O_RDONLY))) {
        made_ = need(os::make_fuse_superblock("nerofs", o.channels));
        if (made_.devices.size() != o.channels) give_up("the kernel makes no clones of /dev/fuse");
        image_bytes_ = need(os::file_size(image_));
        journal_ = need(os::make_memfd("journal", serve::journal_bytes(o.channels)));
        if (o.lazy_ms == 0) return;
        blob_data_ = need(os::make_memfd("blob", image_bytes_));
        blob_map_ = need(os::make_memfd("map", cache::live_map_bytes(image_bytes_)));
        present_ = need(cache::live_map::map(blob_map_, image_bytes_, true));
        present_.format({}, {}, {}, {}, false);
    }

    // In the child: all but the mount is the keeper's.
    unique_fd become_front() {
        made_.devices.clear();
        server_ = {};
        channel_.close();
        return std::move(made_.mount);
    }
    void close_mount() { made_.mount.reset(); }

    void start(const std::string& fault) {
        auto ends = need(os::channel::make_pair());
        os::spawn_options spawn;
        spawn.program = os::program_directory() + "/nerofs-server";
        spawn.arguments = {"nerofs-server"};
        if (!fault.empty()) spawn.environment = {"NEROFS_FAULT=" + fault};
        spawn.fds = {ends.second.fd()};
        spawn.run_as = os::unprivileged_identity("nerofs");
        spawn.lockable_memory = true;
        server_ = need(os::spawn(spawn));
        serve::server_setup setup;
        setup.connections = options_.channels;
        setup.block_size = 4096;
        setup.export_name = "test";
        setup.pieces.push_back({0, image_bytes_, 0, 0, options_.lazy_ms != 0});
        setup.journal = duplicate(journal_);
        if (options_.lazy_ms != 0) {
            serve::server_setup::blob& blob = setup.blobs.emplace_back();
            blob.key = "test";
            blob.size = image_bytes_;
            blob.data = duplicate(blob_data_);
            blob.map = duplicate(blob_map_);
            setup.patience = 30s;
            auto misses = need(os::channel::make_pair());
            misses_ = std::move(misses.first);
            setup.fetcher = misses.second.release();
        } else {
            setup.files.push_back(duplicate(image_));
        }
        for (const unique_fd& fd : made_.devices) setup.fuse.push_back(duplicate(fd));
        channel_ = std::move(ends.first);
        ends.second.close();
        ++servers_;
        (void)serve::send_setup(channel_, setup);  // if it has died already, its end is seen
        if (options_.silent) server_.kill(SIGSTOP);
    }

    // Until the front has ended: a server that dies is followed by the next. A byte from the front: end everything.
    void serve_until(fd_ref front_ended, fd_ref front_gives_up) {
        std::mt19937 random(99);
        const auto next_kill = [&] {
            return options_.kill_every_ms == 0
                       ? os::in_time(1h)
                       : std::chrono::steady_clock::now() +
                             std::chrono::microseconds(random() % (2000 * options_.kill_every_ms));
        };
        auto kill_at = next_kill();
        while (!os::wait_readable(front_ended, os::in_time(0ms))) {
            const fd_ref fourth = misses_ ? misses_.fd() : front_gives_up;
            const fd_ref fds[] = {front_ended, channel_.fd(), server_.pidfd(), fourth};
            const auto until = wanted_.empty() ? kill_at : std::min(kill_at, wanted_.front().first);
            if (!os::wait_readable(std::span(fds, fourth ? 4 : 3), until) && until == kill_at) {
                server_.kill(SIGKILL);
                kill_at = next_kill();
            }
            if (misses_) fetch();
            if (front_gives_up && os::wait_readable(front_gives_up, os::in_time(0ms))) {
                char any;
                if (::read(front_gives_up.get(), &any, 1) == 1) return end();
                front_gives_up = {};
            }
            on_server();
        }
    }

    // All channels say that the file system is gone, though this process and the server still have their descriptors.
    void expect_end() {
        const auto until = os::in_time(20s);
        while (ended_ != options_.channels) {
            const fd_ref fds[] = {channel_.fd(), server_.pidfd()};
            if (!os::wait_readable(fds, until)) break;
            on_server();
        }
        end();
        if (ended_ != options_.channels) give_up("the file system hasn't ended");
        if (bad_ends_ != 0) give_up("a channel hasn't ended by itself");
    }

    void print_counters() {
        const os::mapping memory = need(os::mapping::map(journal_, serve::journal_bytes(options_.channels), true));
        const serve::journal j(memory.data(), options_.channels);
        std::uint64_t requests = 0;
        std::uint64_t takeovers = 0;
        std::uint64_t errors = 0;
        for (unsigned i = 0; i < options_.channels; ++i) {
            requests += j.connection(i).requests;
            takeovers += j.connection(i).takeovers;
            errors += j.connection(i).errors;
        }
        std::printf("servers=%u requests=%llu takeovers=%llu errors=%llu fetched=%llu\n", servers_,
                    static_cast<unsigned long long>(requests), static_cast<unsigned long long>(takeovers),
                    static_cast<unsigned long long>(errors), static_cast<unsigned long long>(fetched_));
    }

  private:
    // Takes down what the server misses, and brings what is due: bytes first, then the word that they are there.
    void fetch() {
        if (auto packet = misses_.receive_now()) {
            for (const cache::missing_piece& piece : need(cache::decode_missing(*packet)))
                wanted_.emplace_back(os::in_time(std::chrono::milliseconds(options_.lazy_ms)),
                                     cache::chunks_of(piece.offset, piece.length));
        }
        while (!wanted_.empty() && wanted_.front().first <= std::chrono::steady_clock::now()) {
            const cache::chunk_range range = wanted_.front().second;
            wanted_.pop_front();
            std::vector<std::byte> bytes(range.count() * cache::chunk_bytes);
            const auto at = static_cast<off_t>(range.first * cache::chunk_bytes);
            const ssize_t n = ::pread(image_.get(), bytes.data(), bytes.size(), at);
            if (n <= 0 || ::pwrite(blob_data_.get(), bytes.data(), static_cast<std::size_t>(n), at) != n)
                give_up("cannot fetch");
            present_.set_present(range);
            present_.announce();
            ++fetched_;
        }
    }

    void on_server() {
        auto packet = channel_.receive_now();
        if (packet) {
            wire_reader body(packet->bytes);
            if (body.get<serve::message>() != serve::message::connection_ended) return;
            (void)body.get<std::uint32_t>();
            if (body.get<serve::connection_end>() != serve::connection_end::disconnect) ++bad_ends_;
            ++ended_;
        } else if (packet.error().kind != error_kind::retryable) {
            (void)os::wait_readable(server_.pidfd(), os::in_time(10s));
            server_.reap();
            ended_ = 0;  // the next one says it again
            start("");
        }
    }
    void end() {
        server_.kill(SIGKILL);
        server_.reap();
        made_.devices.clear();
    }

    const options& options_;
    unique_fd image_;
    std::uint64_t image_bytes_ = 0;
    os::fuse_superblock made_;
    unique_fd journal_;
    os::process server_;
    os::channel channel_;
    unique_fd blob_data_;
    unique_fd blob_map_;
    cache::live_map present_;
    os::channel misses_;
    std::deque<std::pair<os::deadline, cache::chunk_range>> wanted_;
    std::uint64_t fetched_ = 0;
    unsigned servers_ = 0;
    unsigned ended_ = 0;
    unsigned bad_ends_ = 0;
};

// A loop device that frees itself when its last user is gone.
std::pair<std::string, unique_fd> make_loop(fd_ref file, bool& direct) {
    const unique_fd control = need(os::open_file("/dev/loop-control", O_RDWR));
    for (int tries = 0; tries < 20; ++tries) {
        const int number = ::ioctl(control.get(), LOOP_CTL_GET_FREE);
        if (number < 0) give_up("no loop device is free");
        const std::string path = "/dev/loop" + std::to_string(number);
        unique_fd device = need(os::open_file(path, O_RDONLY));
        loop_config config{};
        config.fd = static_cast<std::uint32_t>(file.get());
        config.block_size = 4096;
        config.info.lo_flags = LO_FLAGS_READ_ONLY | LO_FLAGS_AUTOCLEAR | LO_FLAGS_DIRECT_IO;
        if (::ioctl(device.get(), LOOP_CONFIGURE, &config) != 0) {
            if (errno == EBUSY) continue;
            give_up(std::string("LOOP_CONFIGURE: ") + std::strerror(errno));
        }
        loop_info64 info{};
        direct = ::ioctl(device.get(), LOOP_GET_STATUS64, &info) == 0 && (info.lo_flags & LO_FLAGS_DIRECT_IO) != 0;
        return {path, std::move(device)};
    }
    give_up("no loop device is free");
}

struct reading {
    std::atomic<std::uint64_t> reads = 0;
    std::atomic<std::uint64_t> wrong = 0;
    std::atomic<std::uint64_t> failed = 0;
    std::atomic<bool> stop = false;
};

void read_at_random(const options& o, const std::vector<fs::path>& files, unsigned seed, reading& r) {
    std::mt19937 random(seed);
    std::vector<char> got(1 << 20);
    std::vector<char> right(got.size());
    while (!r.stop) {
        const fs::path& name = files[random() % files.size()];
        const unique_fd mounted(::open((fs::path(o.directory) / name).c_str(), O_RDONLY | O_CLOEXEC));
        const unique_fd original(::open((fs::path(o.tree) / name).c_str(), O_RDONLY | O_CLOEXEC));
        ++r.reads;
        if (!mounted || !original) {
            ++r.failed;
            continue;
        }
        struct stat found {};
        ::fstat(original.get(), &found);
        const off_t at =
            found.st_size == 0 ? 0 : static_cast<off_t>(random() % static_cast<unsigned long>(found.st_size));
        const std::size_t length = 1 + random() % (random() % 4 == 0 ? got.size() : 16384);
        const ssize_t n = ::pread(mounted.get(), got.data(), length, at);
        const ssize_t m = ::pread(original.get(), right.data(), length, at);
        if (n < 0)
            ++r.failed;
        else if (n != m || std::memcmp(got.data(), right.data(), static_cast<std::size_t>(n)) != 0)
            ++r.wrong;
        ::posix_fadvise(mounted.get(), 0, 0, POSIX_FADV_DONTNEED);
    }
}

void read_for_a_while(const options& o) {
    std::vector<fs::path> files;
    for (const auto& entry : fs::recursive_directory_iterator(o.tree))
        if (entry.is_regular_file() && !entry.is_symlink()) files.push_back(fs::relative(entry.path(), o.tree));
    if (files.empty()) give_up("there are no files in the tree");
    reading r;
    {
        std::vector<std::jthread> readers;
        for (unsigned i = 0; i < 4; ++i) readers.emplace_back([&, i] { read_at_random(o, files, i, r); });
        std::this_thread::sleep_for(std::chrono::seconds(o.seconds));
        r.stop = true;
    }
    std::printf("reads=%llu wrong=%llu failed=%llu\n", static_cast<unsigned long long>(r.reads),
                static_cast<unsigned long long>(r.wrong), static_cast<unsigned long long>(r.failed));
}

int run_command(const std::vector<char*>& command) {
    const pid_t child = ::fork();
    if (child == 0) {
        ::execvp(command[0], command.data());
        ::_exit(127);
    }
    int status = 0;
    ::waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

// cachestat(2), Linux 6.5.
long long cached_bytes(fd_ref file) {
    struct {
        std::uint64_t offset, length;
    } range{0, 0};
    struct {
        std::uint64_t cached, dirty, writeback, evicted, recently_evicted;
    } found{};
    if (::syscall(451, file.get(), &range, &found, 0) != 0) return -1;
    return static_cast<long long>(found.cached * 4096);
}

options parse(int argc, char** argv) {
    options o;
    int i = 1;
    const auto value = [&]() -> std::string { return ++i < argc ? argv[i] : ""; };
    for (; i < argc && std::strncmp(argv[i], "--", 2) == 0; ++i) {
        const std::string name = argv[i];
        if (name == "--loop") {
            o.loop = true;
        } else if (name == "--silent") {
            o.silent = true;
        } else if (name == "--cached") {
            o.cached = true;
        } else if (name == "--options") {
            o.mount_options = value();
        } else if (name == "--channels") {
            o.channels = static_cast<unsigned>(std::stoul(value()));
        } else if (name == "--fault") {
            o.fault = value();
        } else if (name == "--read") {
            o.tree = value();
        } else if (name == "--seconds") {
            o.seconds = static_cast<unsigned>(std::stoul(value()));
        } else if (name == "--kill-every") {
            o.kill_every_ms = static_cast<unsigned>(std::stoul(value()));
        } else if (name == "--lazy") {
            o.lazy_ms = static_cast<unsigned>(std::stoul(value()));
        } else if (name == "--truncate") {
            o.truncate_to = std::stol(value());
        } else {
            give_up("what is " + name + "?");
        }
    }
    if (argc - i < 2) give_up("usage: fuse_keeper [OPTION...] IMAGE DIR [-- COMMAND...]");
    o.image = argv[i];
    o.directory = argv[i + 1];
    i += 2;
    if (i < argc && std::strcmp(argv[i], "--") == 0) {
        for (++i; i < argc; ++i) o.command.push_back(argv[i]);
        o.command.push_back(nullptr);
    }
    return o;
}

// The exit status. `tell_keeper`: where a byte says that the keeper has to end everything.
int front(const options& o, unique_fd mount, fd_ref tell_keeper) {
    unique_fd file = need(os::open_served(mount, "image", os::in_time(o.silent ? 1s : 60s),
                                          [&] { (void)!::write(tell_keeper.get(), "x", 1); }));
    mount.reset();
    std::string source = "/proc/self/fd/" + std::to_string(file.get());
    std::string how = "file";
    unique_fd loop;
    if (o.loop) {
        bool direct = false;
        std::tie(source, loop) = make_loop(file, direct);
        how = direct ? "loop, direct" : "loop";
    }
    if (::mount(source.c_str(), o.directory.c_str(), "erofs", MS_RDONLY,
                o.mount_options.empty() ? nullptr : o.mount_options.c_str()) != 0)
        give_up("mount: " + std::string(std::strerror(errno)));
    std::printf("mounted (%s)\n", how.c_str());
    loop.reset();
    if (!o.cached) file.reset();

    int status = 0;
    if (o.truncate_to >= 0 && ::truncate(o.image.c_str(), o.truncate_to) != 0) give_up("truncate");
    if (!o.tree.empty()) read_for_a_while(o);
    if (!o.command.empty()) status = run_command(o.command);
    if (o.cached) std::printf("cached=%lld\n", cached_bytes(file));
    file.reset();
    if (::umount2(o.directory.c_str(), 0) != 0) give_up("umount: " + std::string(std::strerror(errno)));
    return status;
}

}  // namespace

int main(int argc, char** argv) {
    const options o = parse(argc, argv);
    ::setvbuf(stdout, nullptr, _IOLBF, 0);
    keeper k(o);
    int pipe_ends[2];
    if (::pipe2(pipe_ends, O_CLOEXEC) != 0) give_up("pipe");
    unique_fd reading_end(pipe_ends[0]);
    unique_fd writing_end(pipe_ends[1]);
    const pid_t child = ::fork();
    if (child == 0) {
        reading_end.reset();
        const int status = front(o, k.become_front(), writing_end);
        std::fflush(stdout);
        ::_exit(status);
    }
    writing_end.reset();
    k.close_mount();
    const os::process watched = need(os::process::watch(child));
    k.start(o.fault);
    k.serve_until(watched.pidfd(), reading_end);
    int status = 0;
    ::waitpid(child, &status, 0);
    const int exit_status = WIFEXITED(status) ? WEXITSTATUS(status) : 1;
    if (!o.silent) k.expect_end();
    k.print_counters();
    std::printf("ended\n");
    return exit_status;
}
