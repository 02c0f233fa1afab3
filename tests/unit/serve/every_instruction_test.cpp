// The journal against a kill at every instruction: a child serves over a journal in shared memory and is stepped
// through it one machine instruction at a time. Whenever the journal or the socket has changed, a successor is run on a
// copy of the journal and on a socket that holds what the child hadn't read; what the child had sent and what the
// successor sends must together be every reply, once, with the right bytes. The successors are stepped through and
// killed likewise.
#include <sys/ioctl.h>
#include <sys/ptrace.h>
#include <sys/wait.h>

#include <map>

#include "base/fault.h"
#include "serve/connection.h"
#include "support.h"

namespace nerofs::serve {
namespace {

using nbd::cmd;
using nbd::error_value;

constexpr std::uint64_t image_size = 1u << 20;

// Where a server may have been killed.
struct state {
    bytes journal;
    bytes unread;  // requests in the socket
    bytes sent;    // replies so far, by all servers before
};

bytes request_bytes(std::span<const nbd::request> requests) {
    const auto raw = std::as_bytes(requests);
    return {raw.begin(), raw.end()};
}

std::size_t readable(fd_ref fd) {
    int count = 0;
    EXPECT_EQ(::ioctl(fd.get(), FIONREAD, &count), 0);
    return static_cast<std::size_t>(count);
}

bytes peek(fd_ref fd, std::size_t count) {
    bytes all(count);
    if (count == 0) return all;
    EXPECT_EQ(::recv(fd.get(), all.data(), count, MSG_PEEK | MSG_DONTWAIT), static_cast<ssize_t>(count));
    return all;
}

class exploration {
  public:
    explicit exploration(std::vector<nbd::request> requests, connection_options options = {})
        : requests_(std::move(requests)), options_(options) {
        for (const nbd::request& r : requests_) {
            goodbye_ = goodbye_ || r.type == static_cast<std::uint16_t>(cmd::disc);
            if (!goodbye_) expected_.emplace(r.cookie, r);
        }
    }

    // A journal that has been used, so that what is left of earlier requests would be seen.
    state beginning() const {
        const journal_memory used(1);
        auto [server, theirs] = socket_pair();
        const client c(std::move(theirs));
        for (std::uint64_t i = 1; i <= 20; ++i)
            c.ask(i % 3 == 0 ? cmd::trim : cmd::read, i << 40 | i, 512 * i, 512 * static_cast<std::uint32_t>(i));
        c.no_more_requests();
        connection(server, map(), used.get(), 0, options_).run();
        return {{used.all().begin(), used.all().end()}, request_bytes(requests_), {}};
    }

    // Steps a child through all it does from `from` on, and checks every state it may leave; calls `on_state` with
    // each.
    template <class F>
    void step_through(const state& from, F&& on_state) {
        const journal_memory memory(1);
        std::copy(from.journal.begin(), from.journal.end(), memory.all().begin());
        auto [server, theirs] = socket_pair();
        const client c(std::move(theirs));
        widen(server);
        c.send(from.unread);
        c.no_more_requests();
        const pid_t child = ::fork();
        ASSERT_GE(child, 0);
        if (child == 0) {
            connection served(server, map(), memory.get(), 0, options_);
            ::ptrace(PTRACE_TRACEME, 0, nullptr, nullptr);
            ::raise(SIGSTOP);
            served.run();
            ::_exit(0);
        }
        int how = 0;
        ASSERT_EQ(::waitpid(child, &how, 0), child);
        if (!WIFSTOPPED(how)) GTEST_SKIP() << "a child can't be traced here";
        state last = from;
        last.unread.clear();  // so that the first is checked, too
        while (::ptrace(PTRACE_SINGLESTEP, child, nullptr, nullptr) == 0) {
            if (::waitpid(child, &how, 0) != child || !WIFSTOPPED(how)) break;
            ASSERT_EQ(WSTOPSIG(how), SIGTRAP);
            ++steps;
            const std::size_t unread = readable(server);
            const std::size_t sent = from.sent.size() + readable(c.fd());
            if (unread == last.unread.size() && sent == last.sent.size() &&
                std::memcmp(memory.all().data(), last.journal.data(), memory.all().size()) == 0)
                continue;
            ++states;
            last.journal.assign(memory.all().begin(), memory.all().end());
            last.unread.assign(from.unread.end() - static_cast<std::ptrdiff_t>(unread), from.unread.end());
            last.sent = from.sent;
            const bytes more = peek(c.fd(), sent - from.sent.size());
            last.sent.insert(last.sent.end(), more.begin(), more.end());
            check_successor_of(last);
            if (testing::Test::HasFailure()) {
                ::kill(child, SIGKILL);
                ::waitpid(child, &how, 0);
                FAIL() << "after " << steps << " steps, " << states << " states";
            }
            on_state(last);
        }
        EXPECT_TRUE(WIFEXITED(how) && WEXITSTATUS(how) == 0);
    }

    unsigned steps = 0;
    unsigned states = 0;

  private:
    static const image_map& map() {
        static const image instance(image_size);
        return instance.map();
    }

    void check_successor_of(const state& s) const {
        const journal_memory memory(1);
        std::copy(s.journal.begin(), s.journal.end(), memory.all().begin());
        auto [server, theirs] = socket_pair();
        const client c(std::move(theirs));
        widen(server);
        c.send(s.unread);
        c.no_more_requests();
        const connection_end end = connection(server, map(), memory.get(), 0, options_).run();
        EXPECT_EQ(end, goodbye_ ? connection_end::disconnect : connection_end::closed);
        bytes all = s.sent;
        const bytes rest = peek(c.fd(), readable(c.fd()));
        all.insert(all.end(), rest.begin(), rest.end());
        expect_every_reply_once(all);
    }

    void expect_every_reply_once(std::span<const std::byte> stream) const {
        auto left = expected_;
        while (!stream.empty()) {
            ASSERT_GE(stream.size(), sizeof(nbd::simple_reply)) << "ends inside a header";
            nbd::simple_reply header;
            std::memcpy(&header, stream.data(), sizeof header);
            stream = stream.subspan(sizeof header);
            ASSERT_EQ(header.magic, nbd::simple_reply_magic) << "out of step";
            const auto found = left.find(header.cookie);
            ASSERT_NE(found, left.end()) << "a second reply to " << header.cookie.get() << ", or one to nothing";
            const nbd::request asked = found->second;
            left.erase(found);
            const bool refused = asked.type != static_cast<std::uint16_t>(cmd::read);
            ASSERT_EQ(header.error, refused ? 1u : 0u);
            if (refused) continue;
            ASSERT_GE(stream.size(), asked.length) << "ends inside a reply";
            ASSERT_TRUE(is_content(stream.first(asked.length), asked.offset)) << "wrong bytes";
            stream = stream.subspan(asked.length);
        }
        EXPECT_TRUE(left.empty()) << left.size() << " requests have no reply";
    }

    std::vector<nbd::request> requests_;
    connection_options options_;
    std::map<std::uint64_t, nbd::request> expected_;
    bool goodbye_ = false;
};

std::vector<nbd::request> some_requests(bool goodbye) {
    std::vector<nbd::request> all = {
        nbd::make_request(cmd::read, 0x100, 4096, 1024), nbd::make_request(cmd::trim, 0x101, 0, 512),
        nbd::make_request(cmd::read, 0x102, 0, 9000),    nbd::make_request(cmd::read, 0x103, 512, 0),
        nbd::make_request(cmd::read, 0x104, 1024, 512),
    };
    if (goodbye) all.push_back(nbd::make_request(cmd::disc, 0, 0, 0));
    return all;
}

class killed_at_every_instruction : public testing::Test {
  protected:
    void SetUp() override {
        if (sanitized) GTEST_SKIP() << "the sanitizers' own instructions are no part of the promise";
    }
    void TearDown() override {
#if NEROFS_FAULTS
        fault::set_plan("");
#endif
    }
};

// 9000 bytes go by file, the others in the messages before and behind.
constexpr connection_options by_file{.file_send_bytes = 8192};

TEST_F(killed_at_every_instruction, a_server_leaves_a_journal_from_which_every_reply_is_sent_once) {
    for (const bool goodbye : {false, true}) {
        exploration e(some_requests(goodbye), by_file);
        e.step_through(e.beginning(), [](const state&) {});
        std::printf("%u instructions, %u states\n", e.steps, e.states);
        EXPECT_GT(e.states, 50u);
    }
}

TEST_F(killed_at_every_instruction, a_successor_that_is_killed_too_leaves_such_a_journal) {
    exploration first(some_requests(true), by_file);
    unsigned count = 0;
    unsigned checked = 0;
    first.step_through(first.beginning(), [&](const state& s) {
        if (count++ % 8 != 0) return;
        exploration second(some_requests(true), by_file);
        second.step_through(s, [](const state&) {});
        checked += second.states;
    });
    std::printf("%u states of successors of %u\n", checked, first.states);
    EXPECT_GT(checked, 200u);
}

#if NEROFS_FAULTS
TEST_F(killed_at_every_instruction, calls_that_send_a_part_are_continued_at_the_next_byte) {
    fault::set_plan("send.message:limit:*:700,send.file:limit:*:2500");
    exploration e(some_requests(false), by_file);
    e.step_through(e.beginning(), [](const state&) {});
    std::printf("%u instructions, %u states\n", e.steps, e.states);
    EXPECT_GT(e.states, 50u);
}
#endif

}  // namespace
}  // namespace nerofs::serve
