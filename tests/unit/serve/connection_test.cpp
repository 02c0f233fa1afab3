// A connection against a client that writes its requests by hand: what each kind of request is answered with, and that
// the stream stays in step.
#include "serve/connection.h"

#include <algorithm>

#include "support.h"

namespace nerofs::serve {
namespace {

using nbd::cmd;
using nbd::error_value;

constexpr std::uint64_t image_size = 4u << 20;

const image& small_image() {
    static const image instance(image_size);
    return instance;
}

TEST(connection, a_write_is_refused_once_and_its_payload_is_skipped) {
    served c(small_image().map());
    std::uint64_t cookie = 1;
    for (const std::uint32_t length : {0u, 1u, 27u, 28u, 29u, 4096u, 300000u, 1u << 20}) {
        // A payload that looks like requests: were one byte of it taken for a header, there would be a reply to it.
        bytes payload;
        const nbd::request fake = nbd::make_request(cmd::read, 0xbad, 0, 512);
        while (payload.size() < length) {
            const auto raw = std::as_bytes(std::span(&fake, 1));
            payload.insert(payload.end(), raw.begin(), raw.end());
        }
        payload.resize(length);
        const nbd::request header = nbd::make_request(cmd::write, ++cookie, 4096, length);
        const nbd::request next = nbd::make_request(cmd::read, ++cookie, 8192, 512);
        // Header, payload and the request behind them in one piece, and each by itself.
        bytes together;
        for (const auto part : {std::as_bytes(std::span(&header, 1)), std::span<const std::byte>(payload),
                                std::as_bytes(std::span(&next, 1))})
            together.insert(together.end(), part.begin(), part.end());
        c.send(together);
        c.expect_reply(cookie - 1, error_value::eperm);
        c.expect_read(cookie, 8192, 512);

        c.send(header);
        c.send(payload);
        c.expect_reply(cookie - 1, error_value::eperm);
        c.read(++cookie, 0, 4096);
    }
    c.no_more_requests();
    c.expect_end();
    EXPECT_EQ(c.finish(), connection_end::closed);
}

TEST(connection, a_write_whose_payload_is_too_long_to_be_skipped_ends_the_connection) {
    served c(small_image().map());
    c.ask(cmd::write, 1, 0, nbd::max_request_bytes + 1);
    c.expect_end();
    EXPECT_EQ(c.wait(), connection_end::violation);
}

TEST(connection, trim_and_zeroes_are_refused_once) {
    served c(small_image().map());
    for (const cmd type : {cmd::trim, cmd::write_zeroes}) {
        c.ask(type, 5, 0, 4096);
        c.ask(type, 6, image_size * 9, 0xffffffff);  // whatever its range
        c.expect_reply(5, error_value::eperm);
        c.expect_reply(6, error_value::eperm);
        c.read(7, 512, 512);
    }
    c.no_more_requests();
    c.expect_end();
}

TEST(connection, an_unknown_request_is_einval_once) {
    served c(small_image().map());
    for (const unsigned type : {3u, 5u, 7u, 8u, 9u, 0x7777u, 0xffffu}) {
        c.ask(static_cast<cmd>(static_cast<std::uint16_t>(type)), 1000u + type, 0, 4096);
        c.expect_reply(1000u + type, error_value::einval);
        c.read(7, 512, 512);
    }
    c.no_more_requests();
    c.expect_end();
}

TEST(connection, a_read_that_isnt_inside_the_device_is_einval) {
    served c(small_image().map());
    struct range {
        std::uint64_t offset;
        std::uint32_t length;
    };
    for (const range r : {range{image_size, 1},
                          {image_size - 1, 2},
                          {image_size + 1, 0},
                          {~0ull, 1},
                          {~0ull - 4095, 4096},
                          {1ull << 63, 512},
                          {0, (4u << 20) + 1},
                          {0, nbd::max_request_bytes + 1},
                          {0, 0xffffffff}}) {
        c.ask(cmd::read, r.offset + 1, r.offset, r.length);
        c.expect_reply(r.offset + 1, error_value::einval);
    }
    nbd::request flagged = nbd::make_request(cmd::read, 9, 0, 512);
    flagged.flags = nbd::cmd_flag_df;
    c.send(flagged);
    c.expect_reply(9, error_value::einval);
    c.read(10, image_size - 512, 512);
    c.read(11, image_size, 0);
}

TEST(connection, a_wrong_magic_drops_the_connection_without_a_reply) {
    served c(small_image().map());
    c.read(1, 0, 512);
    nbd::request header = nbd::make_request(cmd::read, 2, 0, 512);
    header.magic = nbd::request_magic ^ 1u;
    c.send(header);
    c.expect_end();
    EXPECT_EQ(c.wait(), connection_end::violation);
}

TEST(connection, a_goodbye_has_no_answer_and_what_was_asked_before_it_is_answered) {
    served c(small_image().map());
    const nbd::request all[] = {nbd::make_request(cmd::read, 1, 0, 4096), nbd::make_request(cmd::read, 2, 4096, 100000),
                                nbd::make_request(cmd::disc, 0, 0, 0), nbd::make_request(cmd::read, 3, 0, 4096)};
    c.send(std::as_bytes(std::span(all)));
    c.expect_read(1, 0, 4096);
    c.expect_read(2, 4096, 100000);
    c.expect_end();
    EXPECT_EQ(c.wait(), connection_end::disconnect);
}

TEST(connection, a_stream_that_ends_without_a_goodbye_is_closed) {
    served c(small_image().map());
    c.read(1, 0, 512);
    EXPECT_EQ(c.finish(), connection_end::closed);
    c.expect_end();
}

TEST(connection, many_requests_at_once_are_all_answered_once_and_in_order) {
    for (const unsigned count : {1u, 2u, 64u, 127u, 128u, 129u, 500u}) {
        served c(small_image().map());
        std::vector<nbd::request> all;
        const auto length = [](unsigned i) {
            return i % 50 == 49 ? 65536u + i : i % 7 == 3 ? 0u : 512u * (i % 16 + 1);
        };
        const auto offset = [](unsigned i) { return i * 104729ull % (image_size - 200000); };
        for (unsigned i = 0; i < count; ++i) all.push_back(nbd::make_request(cmd::read, i + 1, offset(i), length(i)));
        std::jthread writer([&] { c.send(std::as_bytes(std::span(all))); });
        for (unsigned i = 0; i < count; ++i) c.expect_read(i + 1, offset(i), length(i));
        writer.join();
        c.no_more_requests();
        c.expect_end();
        EXPECT_EQ(c.its_journal().connection(0).requests, count);
    }
}

TEST(connection, a_header_in_pieces_is_put_together) {
    served c(small_image().map());
    const nbd::request header = nbd::make_request(cmd::read, 0x1122334455667788, 512, 512);
    for (const std::byte b : std::as_bytes(std::span(&header, 1))) c.send(std::span(&b, 1));
    c.expect_read(header.cookie, 512, 512);

    std::vector<nbd::request> many;
    for (unsigned i = 0; i < 300; ++i) many.push_back(nbd::make_request(cmd::read, i + 1, i * 512, 512));
    std::span<const std::byte> left = std::as_bytes(std::span(many));
    std::jthread writer([&] {
        for (std::size_t n = 1; !left.empty(); n = n % 97 + 5) {
            const std::size_t now = std::min(n, left.size());
            c.send(left.first(now));
            left = left.subspan(now);
        }
    });
    for (unsigned i = 0; i < 300; ++i) c.expect_read(i + 1, i * 512, 512);
}

TEST(connection, a_client_that_stops_inside_a_header_is_not_answered) {
    served c(small_image().map());
    const nbd::request header = nbd::make_request(cmd::read, 1, 0, 512);
    c.send(std::as_bytes(std::span(&header, 1)).first(27));
    EXPECT_EQ(c.finish(), connection_end::closed);
    c.expect_end();
}

TEST(connection, reads_of_every_size_at_every_place_get_the_bytes_of_the_image) {
    constexpr std::uint64_t size = (32u << 20) + 4097;
    const image large(size);
    served c(large.map());
    std::uint64_t cookie = 0;
    for (const std::uint32_t length : {0u, 1u, 512u, 4096u, 65535u, 65536u, 262144u, 262145u, 1u << 20, 32u << 20}) {
        c.read(++cookie, 0, length);
        c.read(++cookie, size - length, length);
        c.read(++cookie, 4097, std::min<std::uint32_t>(length, size - 4097));
        if (length < (1u << 20)) c.read(++cookie, 1234567, length);
    }
    EXPECT_EQ(c.finish(), connection_end::closed);
    EXPECT_EQ(c.its_journal().connection(0).errors, 0u);
}

TEST(connection, a_client_that_goes_away_inside_a_reply_is_a_clean_end) {
    for (const std::uint32_t file_send_bytes : {1u, 1u << 30}) {
        auto [ours, theirs] = socket_pair();
        const journal_memory memory(1);
        connection_end end = connection_end::cut;
        std::jthread server([&, fd = fd_ref(theirs)] {
            end = connection(fd, small_image().map(), memory.get(), 0, {.file_send_bytes = file_send_bytes}).run();
        });
        {
            const client c(std::move(ours));
            c.ask(cmd::read, 1, 0, 4u << 20);  // more than the socket holds
            EXPECT_EQ(c.take_bytes(5000).size(), 5000u);
        }
        server.join();
        EXPECT_EQ(end, connection_end::closed);
    }
}

}  // namespace
}  // namespace nerofs::serve
