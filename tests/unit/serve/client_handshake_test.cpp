#include "serve/client_handshake.h"

#include <future>

#include "support.h"

namespace nerofs::serve {
namespace {

using namespace std::chrono_literals;

// The two ends of a negotiation under way.
struct negotiation {
    explicit negotiation(std::chrono::milliseconds time = 30s, std::pair<unique_fd, unique_fd> ends = socket_pair())
        : c(std::move(ends.first)), server(std::move(ends.second)) {
        done = std::async(std::launch::async, [fd = fd_ref(server), time] {
            return negotiate(fd, {1u << 20, 4096, "image"}, os::in_time(time));
        });
    }
    void expect_greeting() const { EXPECT_EQ(c.take_bytes(sizeof(nbd::greeting)).size(), sizeof(nbd::greeting)); }
    void flags(std::uint32_t f = nbd::flag_c_fixed_newstyle | nbd::flag_c_no_zeroes) const {
        const be32 packet = f;
        c.send(std::as_bytes(std::span(&packet, 1)));
    }
    static bytes option(nbd::opt which, std::span<const std::byte> data = {}) {
        nbd::option_header header;
        header.magic = nbd::opts_magic;
        header.option = static_cast<std::uint32_t>(which);
        header.length = static_cast<std::uint32_t>(data.size());
        const auto raw = std::as_bytes(std::span(&header, 1));
        bytes all(raw.begin(), raw.end());
        all.insert(all.end(), data.begin(), data.end());
        return all;
    }
    static bytes go() { return option(nbd::opt::go, bytes(6)); }  // the default export, no kind of information

    client c;
    unique_fd server;
    std::future<status> done;
};

void expect_refused(negotiation& n, error_kind kind, const std::string& text) {
    const status end = n.done.get();
    ASSERT_FALSE(end);
    EXPECT_EQ(end.error().kind, kind);
    EXPECT_EQ(end.error().text, text);
}

TEST(client_handshake, a_silent_client_is_turned_away_at_the_deadline) {
    negotiation n(50ms);
    n.expect_greeting();
    expect_refused(n, error_kind::timeout, "no answer in time");
}

TEST(client_handshake, a_client_that_stops_in_the_middle_is_turned_away_at_the_same_deadline) {
    negotiation n(200ms);
    n.expect_greeting();
    n.flags();
    bytes part = negotiation::go();
    part.resize(18);
    for (const std::byte& b : part) n.c.send(std::span(&b, 1));
    expect_refused(n, error_kind::timeout, "no answer in time");
}

TEST(client_handshake, a_client_that_leaves_is_no_error) {
    negotiation n;
    n.expect_greeting();
    n.flags();
    n.c.no_more_requests();
    expect_refused(n, error_kind::cancelled, "the client left during the handshake");
}

TEST(client_handshake, a_client_that_says_abort_is_no_error) {
    negotiation n;
    n.expect_greeting();
    n.flags();
    n.c.send(negotiation::option(nbd::opt::abort));
    expect_refused(n, error_kind::cancelled, "the client ended the negotiation");
}

TEST(client_handshake, what_is_no_option_is_turned_away_with_the_reason) {
    negotiation n;
    n.expect_greeting();
    n.flags();
    n.c.send(bytes(16, std::byte{'x'}));
    expect_refused(n, error_kind::usage, "the client sent something that is no option");
}

TEST(client_handshake, a_client_that_never_reads_its_answers_is_turned_away_instead_of_waited_for) {
    auto ends = socket_pair();
    const int small = 1;
    ::setsockopt(ends.second.get(), SOL_SOCKET, SO_SNDBUF, &small, sizeof small);
    negotiation n(30s, std::move(ends));
    n.flags();
    // The longest answers that options can have, more often than the socket has room for.
    const bytes list = negotiation::option(nbd::opt::list);
    for (int i = 0; i < 32; ++i) n.c.send(list);
    const status end = n.done.get();
    ASSERT_FALSE(end);
    EXPECT_EQ(end.error().code, EAGAIN) << end.error().text;
}

// What follows the handshake in the same segment belongs to the request loop: not a byte of it may be swallowed.
TEST(client_handshake, requests_sent_right_behind_it_are_answered) {
    const image i(1u << 20);
    for (const bool in_pieces : {false, true}) {
        negotiation n;
        n.expect_greeting();
        bytes all;
        const be32 flags = nbd::flag_c_fixed_newstyle | nbd::flag_c_no_zeroes;
        const auto append = [&all](std::span<const std::byte> part) {
            all.insert(all.end(), part.begin(), part.end());
        };
        append(std::as_bytes(std::span(&flags, 1)));
        append(negotiation::option(nbd::opt::list));
        append(negotiation::option(nbd::opt::info, bytes(6)));
        append(negotiation::go());
        for (unsigned r = 0; r < 3; ++r) {
            const nbd::request read = nbd::make_request(nbd::cmd::read, r + 1, r * 4096, 4096);
            append(std::as_bytes(std::span(&read, 1)));
        }
        if (in_pieces)
            for (const std::byte& b : all) n.c.send(std::span(&b, 1));
        else
            n.c.send(all);
        ASSERT_TRUE(n.done.get());
        // list: a server and an ack; info and go: an export and an ack each.
        const std::size_t answers = (20 + 4 + 5 + 20) + 2 * (20 + 12 + 20);
        EXPECT_EQ(n.c.take_bytes(answers).size(), answers);
        const journal_memory memory(1);
        std::jthread server([&] { connection(n.server, i.map(), memory.get(), 0, {}).run(); });
        for (unsigned r = 0; r < 3; ++r) n.c.expect_read(r + 1, r * 4096, 4096);
        n.c.no_more_requests();
    }
}

}  // namespace
}  // namespace nerofs::serve
