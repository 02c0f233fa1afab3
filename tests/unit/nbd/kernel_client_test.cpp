// The stand-in for the kernel's driver, against servers that are right and servers that are wrong in one way each.
#include "support/kernel_client/kernel_client.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <atomic>
#include <cstring>
#include <future>
#include <set>

#include "nbd/request.h"

namespace nerofs::test {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;

constexpr std::uint64_t device_size = 64u << 20;

std::byte byte_at(std::uint64_t offset) {
    return static_cast<std::byte>(offset * 0x9e3779b97f4a7c15 >> 56);
}

std::vector<std::byte> content(std::uint64_t offset, std::size_t length) {
    std::vector<std::byte> bytes(length);
    for (std::size_t i = 0; i < length; ++i) bytes[i] = byte_at(offset + i);
    return bytes;
}

// A server's end of a socket. What it waits for comes within 10 s or not at all.
class server_end {
  public:
    explicit server_end(unique_fd socket) : socket_(std::move(socket)) {
        const timeval limit{.tv_sec = 10, .tv_usec = 0};
        ::setsockopt(socket_.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    }

    // The next request; nullopt at the end of the stream.
    std::optional<nbd::request> take(int flags = 0) {
        nbd::request header;
        if (::recv(socket_.get(), &header, sizeof header, MSG_WAITALL | flags) != sizeof header) return std::nullopt;
        return header;
    }
    bool nothing_comes_for(std::chrono::milliseconds time) {
        const timeval limit{.tv_sec = 0, .tv_usec = time.count() * 1000};
        ::setsockopt(socket_.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
        char byte = 0;
        return ::recv(socket_.get(), &byte, 1, MSG_PEEK) < 0 && errno == EAGAIN;
    }
    bool send(const void* bytes, std::size_t size) {
        return ::send(socket_.get(), bytes, size, MSG_NOSIGNAL) == static_cast<ssize_t>(size);
    }
    bool reply(std::uint64_t cookie, const std::vector<std::byte>& data = {},
               nbd::error_value error = nbd::error_value::none) {
        const nbd::simple_reply header = nbd::make_simple_reply(cookie, error);
        return send(&header, sizeof header) && send(data.data(), data.size());
    }
    bool answer(const nbd::request& asked) { return reply(asked.cookie, content(asked.offset, asked.length)); }
    // Answers everything, what is there at once from the last to the first, until the client goes away.
    void serve() {
        while (auto first = take()) {
            std::vector<nbd::request> batch{*first};
            while (auto more = take(MSG_DONTWAIT)) batch.push_back(*more);
            for (; !batch.empty(); batch.pop_back()) {
                if (static_cast<nbd::cmd>(batch.back().type.get()) == nbd::cmd::disc) return close();
                if (!answer(batch.back())) return;
            }
        }
    }
    void close() { socket_.reset(); }

  private:
    unique_fd socket_;
};

struct wiring {
    std::vector<unique_fd> clients;
    std::vector<server_end> servers;

    explicit wiring(unsigned count) {
        for (unsigned i = 0; i < count; ++i) clients.push_back(add());
    }
    unique_fd add() {
        std::array<int, 2> ends{-1, -1};
        EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()), 0);
        servers.emplace_back(unique_fd(ends[0]));
        return unique_fd(ends[1]);
    }
};

auto read_later(kernel_client& client, std::uint64_t offset, std::uint32_t length) {
    return std::async(std::launch::async, [&client, offset, length] { return client.read(offset, length); });
}

void expect_content(const result<std::vector<std::byte>>& got, std::uint64_t offset, std::size_t length) {
    ASSERT_TRUE(got) << got.error().message();
    EXPECT_EQ(*got, content(offset, length)) << "at " << offset;
}

void expect_eio(const result<std::vector<std::byte>>& got, std::string_view text) {
    ASSERT_FALSE(got);
    EXPECT_EQ(got.error().code, EIO);
    EXPECT_EQ(got.error().text, text);
}

std::vector<violation_kind> kinds(const kernel_client& client) {
    std::vector<violation_kind> out;
    for (const violation& v : client.violations()) out.push_back(v.kind);
    return out;
}

TEST(kernel_client, reads_of_every_shape_get_the_bytes_of_the_device) {
    wiring w(1);
    std::jthread server([&] { w.servers[0].serve(); });
    kernel_client client(std::move(w.clients), device_size);
    for (const std::uint32_t length : {0u, 1u, 4095u, 4096u, 4097u, 131072u, 1u << 20, 32u << 20}) {
        expect_content(client.read(0, length), 0, length);
        expect_content(client.read(device_size - length, length), device_size - length, length);
    }
    expect_content(client.read(12345, 6789), 12345, 6789);
    const auto s = client.statistics();
    EXPECT_EQ(s.reads, 17u);
    EXPECT_EQ(s.sent, 17u);
    EXPECT_EQ(s.latencies.size(), 17u);
    EXPECT_EQ(s.eios + s.timeouts + s.requeues + s.duplicates + s.deaths + s.cut_replies, 0u);
    EXPECT_TRUE(client.violations().empty());
}

TEST(kernel_client, a_request_is_the_drivers_28_bytes) {
    wiring w(1);
    kernel_client client(std::move(w.clients), device_size);
    for (const unsigned send : {1u, 2u}) {
        auto reading = read_later(client, 0x123400, 0x2000);
        const auto header = w.servers[0].take();
        ASSERT_TRUE(header);
        // The slot is free again, so the second read has the same tag and the next counter.
        const std::array<unsigned char, 28> expected = {
            0x25,
            0x60,
            0x95,
            0x13,  // magic
            0x00,
            0x00,
            0x00,
            0x00,  // flags, type
            0x00,
            0x00,
            0x00,
            0x00,  // tag, native
            static_cast<unsigned char>(send),
            0,
            0,
            0,  // counter, native
            0x00,
            0x00,
            0x00,
            0x00,
            0x00,
            0x12,
            0x34,
            0x00,  // offset
            0x00,
            0x00,
            0x20,
            0x00,  // length
        };
        static_assert(std::endian::native == std::endian::little);
        EXPECT_EQ(std::memcmp(&*header, expected.data(), expected.size()), 0);
        w.servers[0].answer(*header);
        expect_content(reading.get(), 0x123400, 0x2000);
    }
}

TEST(kernel_client, many_readers_over_many_sockets_with_replies_out_of_order) {
    wiring w(4);
    std::vector<std::jthread> servers;
    for (auto& end : w.servers) servers.emplace_back([&end] { end.serve(); });
    kernel_client client(std::move(w.clients), device_size);
    std::atomic<unsigned> wrong = 0;
    {
        std::vector<std::jthread> readers;
        for (unsigned reader = 0; reader < 16; ++reader)
            readers.emplace_back([&, reader] {
                for (unsigned i = 0; i < 100; ++i) {
                    const std::uint64_t offset = (reader * 7919u + i * 104729u) % (device_size - 65536);
                    const std::uint32_t length = i % 10 == 0 ? 65536 : 4096;
                    const auto got = client.read(offset, length);
                    if (!got || *got != content(offset, length)) ++wrong;
                }
            });
    }
    EXPECT_EQ(wrong, 0u);
    EXPECT_EQ(client.statistics().reads, 1600u);
    EXPECT_TRUE(client.violations().empty());
    client.disconnect();
}

TEST(kernel_client, has_128_requests_in_flight_on_a_socket_with_a_cookie_each_and_holds_the_next_back) {
    wiring w(1);
    kernel_client client(std::move(w.clients), device_size);
    std::vector<std::future<result<std::vector<std::byte>>>> readers;
    for (unsigned i = 0; i < 130; ++i) readers.push_back(read_later(client, i * 4096, 4096));
    std::vector<nbd::request> asked;
    std::set<std::uint64_t> cookies;
    for (unsigned i = 0; i < 128; ++i) {
        asked.push_back(w.servers[0].take().value());
        cookies.insert(asked.back().cookie);
    }
    EXPECT_EQ(cookies.size(), 128u);
    EXPECT_TRUE(w.servers[0].nothing_comes_for(100ms));
    std::jthread server([&] {
        for (const auto& request : asked) w.servers[0].answer(request);
        for (unsigned i = 0; i < 2; ++i) w.servers[0].answer(w.servers[0].take().value());
    });
    for (unsigned i = 0; i < 130; ++i) expect_content(readers[i].get(), i * 4096, 4096);
}

TEST(kernel_client, an_error_reply_is_eio_whatever_its_code_and_the_socket_lives_on) {
    wiring w(1);
    kernel_client client(std::move(w.clients), device_size);
    auto refused = read_later(client, 0, 4096);
    w.servers[0].reply(w.servers[0].take().value().cookie, {}, nbd::error_value::einval);
    expect_eio(refused.get(), "read: the server answered with error 22");
    auto fine = read_later(client, 4096, 4096);
    w.servers[0].answer(w.servers[0].take().value());
    expect_content(fine.get(), 4096, 4096);
    const auto s = client.statistics();
    EXPECT_EQ(s.error_replies, 1u);
    EXPECT_EQ(s.eios, 1u);
    EXPECT_EQ(s.deaths, 0u);
}

TEST(kernel_client, a_read_beyond_the_device_is_eio_and_never_sent) {
    wiring w(1);
    kernel_client client(std::move(w.clients), 4096);
    expect_eio(client.read(1, 4096), "read: beyond the end of the device");
    expect_eio(client.read(UINT64_MAX, 1), "read: beyond the end of the device");
    EXPECT_EQ(client.statistics().sent, 0u);
}

// One socket does the wrong thing, the other is right: the wrong one dies, and its request ends up at the other.
struct wrong_server_case {
    std::string name;
    violation_kind kind;
    std::function<void(server_end&, const nbd::request&)> misbehave;
};

class wrong_server : public testing::TestWithParam<wrong_server_case> {};

TEST_P(wrong_server, loses_its_socket_and_the_request_is_answered_by_the_other_after_its_timer) {
    wiring w(2);
    std::atomic<unsigned> links_dead = 0;
    kernel_client client(std::move(w.clients), device_size,
                         {.timeout = 200ms, .link_dead = [&](unsigned index) { links_dead += index + 1; }});
    auto reading = read_later(client, 8192, 4096);
    GetParam().misbehave(w.servers[0], w.servers[0].take().value());
    EXPECT_FALSE(w.servers[0].take());  // shut down by the client
    std::jthread server([&] { w.servers[1].serve(); });
    expect_content(reading.get(), 8192, 4096);
    EXPECT_THAT(kinds(client), ElementsAre(GetParam().kind));
    EXPECT_EQ(client.violations()[0].socket, 0u);
    EXPECT_EQ(client.live_sockets(), 1u);
    const auto s = client.statistics();
    EXPECT_EQ(s.timeouts, 1u);
    EXPECT_EQ(s.requeues, 1u);
    EXPECT_EQ(s.sent, 2u);
    EXPECT_EQ(s.deaths, 1u);
    EXPECT_EQ(links_dead, 1u);
    EXPECT_GE(s.latencies.at(0), 200ms);
    client.disconnect();
}

INSTANTIATE_TEST_SUITE_P(
    each, wrong_server,
    testing::Values(
        wrong_server_case{"wrong_magic", violation_kind::wrong_magic,
                          [](server_end& end, const nbd::request& asked) {
                              nbd::simple_reply reply = nbd::make_simple_reply(asked.cookie);
                              reply.magic = 0x67446699u;
                              end.send(&reply, sizeof reply);
                          }},
        wrong_server_case{"cookie_swapped", violation_kind::unknown_cookie,
                          [](server_end& end, const nbd::request& asked) { end.reply(byte_swap(asked.cookie.get())); }},
        wrong_server_case{
            "cookie_of_a_later_send", violation_kind::unknown_cookie,
            [](server_end& end, const nbd::request& asked) { end.reply(asked.cookie + (std::uint64_t{1} << 32)); }},
        wrong_server_case{"cookie_of_a_slot_never_used", violation_kind::unknown_cookie,
                          [](server_end& end, const nbd::request& asked) { end.reply(asked.cookie + 5); }},
        wrong_server_case{"cookie_beyond_the_queues", violation_kind::unknown_cookie,
                          [](server_end& end, const nbd::request& asked) { end.reply(asked.cookie + (7u << 16)); }},
        wrong_server_case{"cookie_zero", violation_kind::reply_to_disc,
                          [](server_end& end, const nbd::request&) { end.reply(0); }}),
    [](const auto& parameter) { return parameter.param.name; });

TEST(kernel_client, a_duplicate_reply_kills_the_socket) {
    wiring w(1);
    kernel_client client(std::move(w.clients), device_size);
    auto reading = read_later(client, 0, 512);
    const auto asked = w.servers[0].take().value();
    w.servers[0].answer(asked);
    w.servers[0].answer(asked);
    expect_content(reading.get(), 0, 512);
    EXPECT_FALSE(w.servers[0].take());
    EXPECT_TRUE(client.wait_for_live_sockets(0, 5s));
    EXPECT_THAT(kinds(client), ElementsAre(violation_kind::duplicate_reply));
    EXPECT_EQ(client.violations()[0].text, "socket 0: duplicate reply (send 1 of request 0/0)");
    EXPECT_EQ(client.statistics().duplicates, 1u);
}

TEST(kernel_client, a_reply_on_another_socket_kills_that_one) {
    wiring w(2);
    kernel_client client(std::move(w.clients), device_size);
    auto reading = read_later(client, 0, 512);
    const auto asked = w.servers[0].take().value();
    w.servers[1].answer(asked);
    EXPECT_FALSE(w.servers[1].take());
    w.servers[0].answer(asked);
    expect_content(reading.get(), 0, 512);
    EXPECT_THAT(kinds(client), ElementsAre(violation_kind::wrong_socket));
}

TEST(kernel_client, a_cut_reply_is_no_violation_and_waits_for_its_timer) {
    for (const std::size_t bytes : {1u, 15u, 16u, 17u, 16u + 4096u, 16u + 8191u}) {
        wiring w(2);
        kernel_client client(std::move(w.clients), device_size, {.timeout = 100ms});
        auto reading = read_later(client, 4096, 8192);
        const auto asked = w.servers[0].take().value();
        const nbd::simple_reply header = nbd::make_simple_reply(asked.cookie);
        std::vector<std::byte> whole(16 + 8192, std::byte{0xee});  // not the bytes of the device
        std::memcpy(whole.data(), &header, sizeof header);
        w.servers[0].send(whole.data(), bytes);
        w.servers[0].close();
        std::jthread server([&] { w.servers[1].serve(); });
        expect_content(reading.get(), 4096, 8192);
        const auto s = client.statistics();
        EXPECT_EQ(s.cut_replies, 1u) << bytes;
        EXPECT_EQ(s.timeouts, 1u) << bytes;
        EXPECT_GE(s.latencies.at(0), 100ms) << bytes;
        EXPECT_TRUE(client.violations().empty()) << bytes;
        client.disconnect();
    }
}

TEST(kernel_client, a_silent_server_loses_its_socket_and_each_request_waits_for_its_own_timer) {
    wiring w(2);
    kernel_client client(std::move(w.clients), device_size, {.timeout = 2000ms});
    auto first = read_later(client, 0, 512);
    const auto asked = w.servers[0].take().value();
    std::jthread server([&] { w.servers[1].serve(); });
    expect_content(client.read(512, 512), 512, 512);  // the other queue's turn
    std::this_thread::sleep_for(1000ms);              // not to wait for something, but to start the second timer later
    const auto started = std::chrono::steady_clock::now();
    auto second = read_later(client, 1024, 512);
    EXPECT_NE(w.servers[0].take().value().cookie, asked.cookie);
    expect_content(first.get(), 0, 512);
    const std::uint64_t timeouts = client.statistics().timeouts;
    const bool stood_still = std::chrono::steady_clock::now() - started >= 2000ms;  // the machine
    EXPECT_TRUE(stood_still || timeouts == 1) << timeouts;
    EXPECT_EQ(client.live_sockets(), 1u);
    EXPECT_FALSE(w.servers[0].take());
    expect_content(second.get(), 1024, 512);
    const auto s = client.statistics();
    EXPECT_EQ(s.timeouts, 2u);
    EXPECT_GE(s.latencies.at(1), 2000ms);
    EXPECT_GE(s.latencies.at(2), 2000ms);
    EXPECT_TRUE(client.violations().empty());
    client.disconnect();
}

TEST(kernel_client, a_repeated_request_has_a_new_cookie) {
    wiring w(2);
    kernel_client client(std::move(w.clients), device_size, {.timeout = 100ms});
    auto reading = read_later(client, 4096, 512);
    const auto first = w.servers[0].take().value();
    const auto second = w.servers[1].take().value();
    EXPECT_EQ(second.cookie, first.cookie + (std::uint64_t{1} << 32));
    EXPECT_EQ(second.offset, first.offset);
    EXPECT_EQ(second.length, first.length);
    w.servers[1].answer(second);
    expect_content(reading.get(), 4096, 512);
}

TEST(kernel_client, without_a_live_socket_a_read_is_eio_at_once_or_after_dead_conn_timeout) {
    for (const auto patience : {0ms, 150ms}) {
        wiring w(2);
        kernel_client client(std::move(w.clients), device_size, {.dead_conn_timeout = patience});
        for (auto& end : w.servers) end.close();
        ASSERT_TRUE(client.wait_for_live_sockets(0, 5s));
        const auto start = std::chrono::steady_clock::now();
        expect_eio(client.read(0, 512), "read: no socket is alive");
        EXPECT_GE(std::chrono::steady_clock::now() - start, patience);
        EXPECT_EQ(client.statistics().cut_replies, 0u);
    }
}

TEST(kernel_client, a_replaced_socket_ends_the_wait_and_takes_the_first_dead_place) {
    wiring w(2);
    kernel_client client(std::move(w.clients), device_size, {.dead_conn_timeout = 10s});
    for (auto& end : w.servers) end.close();
    ASSERT_TRUE(client.wait_for_live_sockets(0, 5s));
    auto reading = read_later(client, 0, 512);
    EXPECT_EQ(client.reconfigure(w.add()), 0u);
    EXPECT_EQ(client.reconfigure(w.add()), 1u);
    EXPECT_EQ(client.reconfigure(w.add()), std::nullopt);
    EXPECT_FALSE(w.servers[4].take());  // the one that wasn't taken was closed
    EXPECT_EQ(client.live_sockets(), 2u);
    std::jthread one([&] { w.servers[2].serve(); });
    std::jthread two([&] { w.servers[3].serve(); });
    expect_content(reading.get(), 0, 512);
    EXPECT_EQ(client.statistics().reconfigured, 2u);
    client.disconnect();
}

TEST(kernel_client, link_dead_may_replace_the_socket) {
    wiring w(1);
    auto spare = std::make_shared<unique_fd>(w.add());
    kernel_client* itself = nullptr;
    kernel_client client(std::move(w.clients), device_size,
                         {.timeout = 100ms, .dead_conn_timeout = 10s, .link_dead = [&](unsigned) {
                              if (*spare) itself->reconfigure(std::move(*spare));
                          }});
    itself = &client;
    auto reading = read_later(client, 0, 512);
    ASSERT_TRUE(w.servers[0].take());
    w.servers[0].close();
    std::jthread server([&] { w.servers[1].serve(); });
    expect_content(reading.get(), 0, 512);
    client.disconnect();
}

TEST(kernel_client, a_request_of_a_replaced_socket_may_be_answered_on_its_replacement) {
    wiring w(1);
    kernel_client client(std::move(w.clients), device_size, {.dead_conn_timeout = 10s});
    auto reading = read_later(client, 0, 512);
    const auto asked = w.servers[0].take().value();
    w.servers[0].close();
    ASSERT_TRUE(client.wait_for_live_sockets(0, 5s));
    ASSERT_EQ(client.reconfigure(w.add()), 0u);
    w.servers[1].answer(asked);
    expect_content(reading.get(), 0, 512);  // long before the timer of 30 s
    EXPECT_TRUE(client.violations().empty());
}

TEST(kernel_client, disconnect_says_disc_on_each_socket_and_ends_what_is_in_flight) {
    wiring w(2);
    kernel_client client(std::move(w.clients), device_size);
    auto reading = read_later(client, 0, 512);
    ASSERT_TRUE(w.servers[0].take());
    client.disconnect();
    expect_eio(reading.get(), "read: the device is disconnected");
    for (auto& end : w.servers) {
        const auto goodbye = end.take();
        ASSERT_TRUE(goodbye);
        const std::array<unsigned char, 28> expected = {0x25, 0x60, 0x95, 0x13, 0, 0, 0, 2};
        EXPECT_EQ(std::memcmp(&*goodbye, expected.data(), expected.size()), 0);
        EXPECT_FALSE(end.take());
    }
    expect_eio(client.read(0, 512), "read: the device is disconnected");
    EXPECT_EQ(client.statistics().deaths, 0u);
    client.disconnect();  // does nothing
}

TEST(kernel_client, a_pause_after_disc_catches_a_server_that_answers_it) {
    wiring w(1);
    kernel_client client(std::move(w.clients), device_size, {.disconnect_pause = 10s});
    std::jthread server([&] {
        w.servers[0].reply(w.servers[0].take().value().cookie);
        EXPECT_FALSE(w.servers[0].take());
    });
    client.disconnect();
    EXPECT_THAT(kinds(client), ElementsAre(violation_kind::reply_to_disc));
}

TEST(kernel_client, its_destructor_ends_reads_under_way_without_disc) {
    wiring w(1);
    auto client = std::make_unique<kernel_client>(std::move(w.clients), device_size);
    auto reading = read_later(*client, 0, 512);
    ASSERT_TRUE(w.servers[0].take());
    client.reset();
    expect_eio(reading.get(), "read: the device is disconnected");
    EXPECT_FALSE(w.servers[0].take());
}

}  // namespace
}  // namespace nerofs::test
