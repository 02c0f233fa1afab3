// The two things that the journal believes of the kernel (docs/journal.md), measured: a child moves bytes by calls
// whose records lie in shared memory, is killed at some moment, and what has really moved is compared with what is
// recorded.
#include <sys/ioctl.h>
#include <sys/sendfile.h>
#include <sys/wait.h>

#include <atomic>
#include <chrono>
#include <random>

#include "support.h"

namespace nerofs::serve {
namespace {

constexpr int rounds = sanitized ? 40 : 1500;  // fork is slow with the sanitizers' memory, which is no part of this
constexpr std::size_t file_bytes = 1 << 20;

// What the child writes and the next process would read. `completed` counts the calls that have returned.
struct shared {
    std::atomic<bool> started;
    std::atomic<std::uint64_t> completed;
    mmsghdr message;
    off_t file_offset;
    alignas(4096) std::byte received[1 << 19];
};

class kernel_promises : public testing::Test {
  protected:
    static void SetUpTestSuite() {
        // Sends of odd sizes over many pages. Filled once; the children have it by fork.
        all_ = new bytes(content(0, file_bytes));
    }

    // A page fault within a call is part of what is measured: the memory is fresh each time.
    void fresh() {
        if (memory_) ::munmap(memory_, sizeof(shared));
        memory_ = static_cast<shared*>(
            ::mmap(nullptr, sizeof(shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
    }
    void TearDown() override {
        if (memory_) ::munmap(memory_, sizeof(shared));
    }

    // Runs `work` in a child, `meanwhile` here, kills the child within some 150 us of that and waits for its end.
    template <class Work, class Meanwhile>
    void kill_at_some_moment(Work&& work, Meanwhile&& meanwhile) {
        const pid_t child = ::fork();
        ASSERT_GE(child, 0);
        if (child == 0) {
            memory_->started = true;
            work();
            for (;;) ::pause();
        }
        while (!memory_->started) ::sched_yield();
        const auto until = std::chrono::steady_clock::now() + std::chrono::nanoseconds(random_() % 150000);
        while (std::chrono::steady_clock::now() < until) meanwhile();
        ::kill(child, SIGKILL);
        int how = 0;
        ASSERT_EQ(::waitpid(child, &how, 0), child);
        ASSERT_TRUE(WIFSIGNALED(how));
    }

    // Reads some of what is there now.
    std::size_t take_some(fd_ref socket, bytes& into) {
        std::byte part[70000];
        const ssize_t n = ::recv(socket.get(), part, 1 + random_() % sizeof part, MSG_DONTWAIT);
        if (n > 0) into.insert(into.end(), part, part + n);
        return n > 0 ? static_cast<std::size_t>(n) : 0;
    }

    static bytes* all_;
    shared* memory_ = nullptr;
    std::mt19937 random_{12345};
};
bytes* kernel_promises::all_ = nullptr;

TEST_F(kernel_promises, sendmmsg_records_in_its_own_call_how_much_was_sent) {
    int inside_a_call = 0;
    for (int round = 0; round < rounds; ++round) {
        fresh();
        auto [ours, theirs] = socket_pair();
        bytes got;
        ASSERT_NO_FATAL_FAILURE(kill_at_some_moment(
            [&] {
                std::uint64_t at = 0;
                while (at < all_->size()) {
                    iovec parts[3];
                    std::size_t used = 0;
                    for (const std::size_t want : {std::size_t{16}, std::size_t{100001}, std::size_t{300000}}) {
                        const std::size_t n = std::min(want, all_->size() - at - used);
                        parts[want == 16 ? 0 : want == 100001 ? 1 : 2] = {all_->data() + at + used, n};
                        used += n;
                    }
                    memory_->message.msg_hdr = {};
                    memory_->message.msg_hdr.msg_iov = parts;
                    memory_->message.msg_hdr.msg_iovlen = 3;
                    std::atomic_signal_fence(std::memory_order_seq_cst);
                    memory_->message.msg_len = 0;
                    memory_->completed.store(at << 1 | 1);  // a call is under way
                    if (::sendmmsg(theirs.get(), &memory_->message, 1, MSG_NOSIGNAL) != 1) ::_exit(1);
                    at += memory_->message.msg_len;
                    memory_->completed.store(at << 1);
                }
            },
            [&] { take_some(ours, got); }));
        while (take_some(ours, got) > 0) {
        }
        const std::uint64_t word = memory_->completed;
        const std::uint64_t recorded = (word >> 1) + ((word & 1) ? memory_->message.msg_len : 0);
        ASSERT_EQ(got.size(), recorded) << "in round " << round << ", " << (word & 1 ? "inside" : "outside")
                                        << " a call";
        ASSERT_EQ(std::memcmp(got.data(), all_->data(), got.size()), 0);
        inside_a_call += static_cast<int>((word & 1) && recorded != word >> 1);
    }
    std::printf("killed inside a call that had sent a part: %d of %d\n", inside_a_call, rounds);
    EXPECT_GT(inside_a_call, rounds / 50) << "too few kills fell where they matter";
}

TEST_F(kernel_promises, sendfile_records_in_its_own_call_how_much_was_sent) {
    const unique_fd file = memory_file(*all_);
    int inside_a_call = 0;
    for (int round = 0; round < rounds; ++round) {
        fresh();
        auto [ours, theirs] = socket_pair();
        bytes got;
        ASSERT_NO_FATAL_FAILURE(kill_at_some_moment(
            [&] {
                while (memory_->file_offset < static_cast<off_t>(file_bytes)) {
                    memory_->completed.store(static_cast<std::uint64_t>(memory_->file_offset));
                    if (::sendfile(theirs.get(), file.get(), &memory_->file_offset, 400001) <= 0) ::_exit(1);
                }
                memory_->completed.store(file_bytes);
            },
            [&] { take_some(ours, got); }));
        while (take_some(ours, got) > 0) {
        }
        ASSERT_EQ(got.size(), static_cast<std::size_t>(memory_->file_offset)) << "in round " << round;
        ASSERT_EQ(std::memcmp(got.data(), all_->data(), got.size()), 0);
        inside_a_call += static_cast<int>(memory_->completed != got.size());
    }
    std::printf("killed inside a call that had sent a part, or behind it: %d of %d\n", inside_a_call, rounds);
    EXPECT_GT(inside_a_call, rounds / 50) << "too few kills fell where they matter";
}

// What recv(2) took out of the socket lies whole in the memory it was told, and nothing behind it.
TEST_F(kernel_promises, recv_takes_from_the_stream_what_it_has_stored_and_no_more) {
    constexpr std::size_t record = sizeof(nbd::request);  // sent one by one, as the kernel sends them
    int moved = 0;
    for (int round = 0; round < rounds; ++round) {
        fresh();
        auto [ours, theirs] = socket_pair();
        std::size_t sent = 0;
        ASSERT_NO_FATAL_FAILURE(kill_at_some_moment(
            [&] {
                for (std::size_t at = 0; at + 128 * record <= sizeof memory_->received;) {
                    const ssize_t n = ::recv(theirs.get(), memory_->received + at, 128 * record, 0);
                    if (n <= 0) ::_exit(1);
                    at += static_cast<std::size_t>(n);
                }
            },
            [&] {
                for (auto i = random_() % 60; i > 0 && sent + record <= sizeof memory_->received; --i) {
                    if (::send(ours.get(), all_->data() + sent, record, MSG_DONTWAIT) != static_cast<ssize_t>(record))
                        break;
                    sent += record;
                }
            }));
        int unread = 0;
        ASSERT_EQ(::ioctl(theirs.get(), FIONREAD, &unread), 0);
        const std::size_t taken = sent - static_cast<std::size_t>(unread);
        ASSERT_EQ(taken % record, 0u);
        ASSERT_EQ(std::memcmp(memory_->received, all_->data(), taken), 0) << "in round " << round;
        for (std::size_t i = taken; i < std::min(taken + 256 * record, sizeof memory_->received); ++i)
            ASSERT_EQ(memory_->received[i], std::byte{0})
                << "stored but not taken, in round " << round;  // never 0 in all_
        moved += static_cast<int>(taken > 0 && unread > 0);
    }
    std::printf("killed with some taken and some not: %d of %d\n", moved, rounds);
}

}  // namespace
}  // namespace nerofs::serve
