// What a keeper holds and does, for tests of the real server process: the image, the sockets, the journal, and a server
// that is started again on the same ones. The kernel is the stand-in.
#pragma once

#include <sys/stat.h>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <random>

#include "base/wire.h"
#include "os/channel.h"
#include "os/process.h"
#include "os/shared_memory.h"
#include "serve/messages.h"
#include "support.h"
#include "support/kernel_client/kernel_client.h"

namespace nerofs::serve {

using namespace std::chrono_literals;

class server_keeper {
  public:
    static constexpr std::uint64_t image_size = 16u << 20;

    explicit server_keeper(unsigned connections = 2) : connections_(connections) {
        char name[] = "/tmp/nerofs-serve-XXXXXX";
        directory_ = ::mkdtemp(name);
        control_ = os::listen_at(directory_ + "/control").value();
        image_ = memory_file(reference());
        journal_ = os::make_memfd("journal", journal_bytes(connections)).value();
        std::vector<unique_fd> theirs;
        for (unsigned i = 0; i < connections; ++i) {
            auto ends = socket_pair();
            sockets_.push_back(std::move(ends.first));
            theirs.push_back(std::move(ends.second));
        }
        kernel_.emplace(std::move(theirs), image_size,
                        test::kernel_client_options{.timeout = 120s, .disconnect_pause = 30s});
    }
    ~server_keeper() {
        if (server_) kill_server();
        ::unlink((directory_ + "/control").c_str());
        ::rmdir(directory_.c_str());
    }

    static const bytes& reference() {
        static const bytes all = content(0, image_size);
        return all;
    }

    // As mount::start_server does. Empty, or how the server ended before it was ready.
    std::string start(const std::string& fault = "") {
        auto ends = os::channel::make_pair().value();
        os::spawn_options options;
        options.program = NEROFS_BIN "/nerofs-server";
        options.arguments = {"nerofs-server"};
        if (!fault.empty()) options.environment = {"NEROFS_FAULT=" + fault};
        options.fds = {ends.second.fd()};
        if (::geteuid() == 0) options.run_as = os::unprivileged_identity("nerofs");
        options.lockable_memory = true;
        auto started = os::spawn(options);
        if (!started) return started.error().message();
        server_ = std::move(*started);
        channel_ = std::move(ends.first);
        ends.second.close();
        if (send_setup(channel_, setup())) {
            const auto packet = channel_.receive(os::in_time(60s));
            if (packet && wire_reader(packet->bytes).get<message>() == message::ready) return {};
        }
        return wait_for_death();
    }
    // How it ended, in words.
    std::string wait_for_death() {
        if (!os::wait_readable(server_.pidfd(), os::in_time(60s))) return "lives";
        channel_.close();
        return server_.reap();
    }
    std::string kill_server() {
        server_.kill(SIGKILL);
        return wait_for_death();
    }

    server_setup setup() const {
        server_setup s;
        s.connections = connections_;
        s.block_size = 4096;
        s.export_name = "test";
        s.pieces.push_back({0, image_size, 0, 0});
        s.journal = duplicate(journal_);
        s.control = duplicate(control_);
        s.files.push_back(duplicate(image_));
        for (const unique_fd& socket : sockets_) s.sockets.push_back(duplicate(socket));
        s.kept.push_back(duplicate(image_));
        return s;
    }

    // The descriptors that a server has handed over, in the place of ours.
    void adopt(os::channel channel, server_setup handed) {
        channel_ = std::move(channel);
        sockets_ = std::move(handed.sockets);
        journal_ = std::move(handed.journal);
        control_ = std::move(handed.control);
        image_ = std::move(handed.files.front());
    }

    test::kernel_client& kernel() { return *kernel_; }
    os::channel& channel() { return channel_; }
    const os::process& server() const { return server_; }
    std::string control_path() const { return directory_ + "/control"; }
    fd_ref socket(unsigned index) const { return sockets_[index]; }
    fd_ref journal() const { return journal_; }

    // Nothing but right answers, on the sockets of the beginning.
    void expect_flawless() {
        for (const auto& v : kernel_->violations()) ADD_FAILURE() << v.text;
        const auto s = kernel_->statistics();
        EXPECT_EQ(s.eios, 0u);
        EXPECT_EQ(s.deaths, 0u);
        EXPECT_EQ(s.cut_replies, 0u);
        EXPECT_EQ(s.timeouts, 0u);
        EXPECT_EQ(s.sent, s.reads);
        EXPECT_EQ(s.reconfigured, 0u);
    }

  private:
    unsigned connections_;
    std::string directory_;
    unique_fd control_;
    unique_fd image_;
    unique_fd journal_;
    std::vector<unique_fd> sockets_;
    std::optional<test::kernel_client> kernel_;
    os::process server_;
    os::channel channel_;
};

// Threads that read at random places and compare, until stop() or so many reads each.
class checking_readers {
  public:
    checking_readers(test::kernel_client& kernel, unsigned threads, unsigned reads = ~0u) {
        for (unsigned t = 0; t < threads; ++t) {
            threads_.emplace_back([this, &kernel, t, reads] {
                const std::uint32_t sizes[] = {4096, 4096, 4096, 16384, 65536, 131072, 1u << 20};
                const bytes& right = server_keeper::reference();
                std::mt19937 random(t);
                for (unsigned i = 0; i < reads && !stop_; ++i) {
                    const std::uint32_t length = sizes[random() % std::size(sizes)];
                    const std::uint64_t offset = random() % (server_keeper::image_size - length) / 4096 * 4096;
                    const auto got = kernel.read(offset, length);
                    if (!got)
                        ++failed_;
                    else if (std::memcmp(got->data(), right.data() + offset, length) != 0)
                        ++wrong_;
                    ++done_;
                }
                ++ended_;
            });
        }
    }
    ~checking_readers() { finish(); }

    // All of them have come to their end by themselves.
    bool ended() const { return ended_ == threads_.size(); }
    unsigned done() const { return done_; }
    void finish() {
        stop_ = true;
        for (std::thread& t : threads_)
            if (t.joinable()) t.join();
        EXPECT_EQ(wrong_, 0u);
        EXPECT_EQ(failed_, 0u);
    }

  private:
    std::atomic<bool> stop_ = false;
    std::atomic<unsigned> wrong_ = 0;
    std::atomic<unsigned> failed_ = 0;
    std::atomic<unsigned> done_ = 0;
    std::atomic<unsigned> ended_ = 0;
    std::vector<std::thread> threads_;
};

}  // namespace nerofs::serve
