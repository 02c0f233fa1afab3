#include "serve/messages.h"

#include <sys/stat.h>

#include "base/wire.h"
#include "support.h"

namespace nerofs::serve {
namespace {

using namespace std::chrono_literals;

ino_t identity(fd_ref fd) {
    struct stat found {};
    EXPECT_EQ(::fstat(fd.get(), &found), 0);
    return found.st_ino;
}

unique_fd some_file() {
    return memory_file({});
}

server_setup full_setup() {
    server_setup s;
    s.connections = 2;
    s.block_size = 512;
    s.export_name = "an image";
    s.pieces = {{0, 4096, 0, 1024}, {4096, 1ull << 40, 1, 0}};
    s.journal = some_file();
    s.control = some_file();
    for (int i = 0; i < 2; ++i) s.files.push_back(some_file());
    for (int i = 0; i < 2; ++i) s.sockets.push_back(some_file());
    s.listeners.push_back(some_file());
    for (int i = 0; i < 3; ++i) s.kept.push_back(some_file());
    return s;
}

os::packet through_a_channel(const server_setup& s) {
    auto ends = os::channel::make_pair().value();
    EXPECT_TRUE(send_setup(ends.first, s));
    return ends.second.receive(os::in_time(30s)).value();
}

TEST(messages, a_setup_arrives_as_it_was_sent_with_every_descriptor_in_its_place) {
    const server_setup sent = full_setup();
    const auto got = decode_setup(through_a_channel(sent));
    ASSERT_TRUE(got) << got.error().message();
    EXPECT_EQ(got->connections, 2u);
    EXPECT_EQ(got->block_size, 512u);
    EXPECT_EQ(got->export_name, "an image");
    ASSERT_EQ(got->pieces.size(), 2u);
    for (std::size_t i = 0; i < 2; ++i) {
        EXPECT_EQ(got->pieces[i].device_offset, sent.pieces[i].device_offset);
        EXPECT_EQ(got->pieces[i].length, sent.pieces[i].length);
        EXPECT_EQ(got->pieces[i].file, sent.pieces[i].file);
        EXPECT_EQ(got->pieces[i].file_offset, sent.pieces[i].file_offset);
    }
    EXPECT_EQ(identity(got->journal), identity(sent.journal));
    EXPECT_EQ(identity(got->control), identity(sent.control));
    for (auto list : {&server_setup::files, &server_setup::sockets, &server_setup::listeners, &server_setup::kept}) {
        ASSERT_EQ((*got.*list).size(), (sent.*list).size());
        for (std::size_t i = 0; i < (sent.*list).size(); ++i)
            EXPECT_EQ(identity((*got.*list)[i]), identity((sent.*list)[i]));
    }
}

TEST(messages, a_setup_without_what_may_be_missing_arrives_too) {
    const auto got = decode_setup(through_a_channel(server_setup{}));
    ASSERT_TRUE(got);
    EXPECT_FALSE(got->journal);
    EXPECT_FALSE(got->control);
    EXPECT_TRUE(got->pieces.empty() && got->files.empty() && got->sockets.empty() && got->listeners.empty() &&
                got->kept.empty());
}

// Descriptors of /dev/fuse take the place of sockets: each has its part of the journal by its place.
TEST(messages, a_setup_by_fuse_arrives_in_order_and_never_beside_sockets) {
    server_setup sent = full_setup();
    sent.sockets.clear();
    for (int i = 0; i < 2; ++i) sent.fuse.push_back(some_file());
    const auto got = decode_setup(through_a_channel(sent));
    ASSERT_TRUE(got) << got.error().message();
    ASSERT_EQ(got->fuse.size(), 2u);
    for (std::size_t i = 0; i < 2; ++i) EXPECT_EQ(identity(got->fuse[i]), identity(sent.fuse[i]));
    EXPECT_TRUE(got->sockets.empty());
    EXPECT_EQ(got->listeners.size(), 1u);

    sent.fuse.push_back(some_file());
    EXPECT_FALSE(decode_setup(through_a_channel(sent))) << "more than the journal has parts";
    sent.fuse.resize(1);
    sent.sockets.push_back(some_file());
    EXPECT_FALSE(decode_setup(through_a_channel(sent))) << "both";
    sent.sockets.clear();
    sent.journal.reset();
    EXPECT_FALSE(decode_setup(through_a_channel(sent))) << "no journal";
}

TEST(messages, the_largest_setup_fits_into_a_packet) {
    server_setup s;
    s.connections = max_connections;
    s.export_name = std::string(4096, 'n');
    for (unsigned i = 0; i < 1000; ++i) s.pieces.push_back({i * 512u, 512, i % 80, 0});
    s.journal = some_file();
    for (unsigned i = 0; i < 80; ++i) s.files.push_back(some_file());
    for (unsigned i = 0; i < max_connections; ++i) s.sockets.push_back(some_file());
    const auto got = decode_setup(through_a_channel(s));
    ASSERT_TRUE(got);
    EXPECT_EQ(got->pieces.size(), 1000u);
    EXPECT_EQ(got->sockets.size(), std::size_t{max_connections});
    EXPECT_TRUE(got->make_map({}));
}

void expect_malformed(os::packet packet, const std::string& what) {
    const auto got = decode_setup(std::move(packet));
    ASSERT_FALSE(got) << what;
    EXPECT_EQ(got.error().kind, error_kind::corrupt) << what;
    EXPECT_EQ(got.error().text, "the set-up message is malformed") << what;
}

TEST(messages, a_setup_that_was_cut_anywhere_or_has_a_descriptor_too_few_or_too_many_is_refused) {
    const server_setup s = full_setup();
    const std::size_t size = through_a_channel(s).bytes.size();
    for (std::size_t cut = 0; cut < size; ++cut) {
        os::packet packet = through_a_channel(s);
        packet.bytes.resize(cut);
        expect_malformed(std::move(packet), "cut at " + std::to_string(cut));
    }
    os::packet longer = through_a_channel(s);
    longer.bytes.push_back(std::byte{0});
    expect_malformed(std::move(longer), "a byte too many");
    os::packet fewer = through_a_channel(s);
    fewer.fds.pop_back();
    expect_malformed(std::move(fewer), "a descriptor too few");
    os::packet more = through_a_channel(s);
    more.fds.push_back(some_file());
    expect_malformed(std::move(more), "a descriptor too many");
}

TEST(messages, a_setup_with_absurd_counts_is_refused) {
    const auto refuse = [](auto change, const std::string& what) {
        server_setup s = full_setup();
        change(s);
        expect_malformed(through_a_channel(s), what);
    };
    refuse([](server_setup& s) { s.connections = max_connections + 1; }, "connections");
    refuse([](server_setup& s) { s.pieces.resize(1001); }, "pieces");
    refuse([](server_setup& s) { s.connections = 1; }, "more sockets than connections");
    refuse([](server_setup& s) { s.journal.reset(); }, "sockets without a journal");

    wire_writer body;  // a count that would need terabytes
    body.put(message::setup).put(2u).put(512u).put(std::string_view("n")).put(~0ull >> 8);
    os::packet packet;
    packet.bytes.assign(body.bytes().begin(), body.bytes().end());
    expect_malformed(std::move(packet), "2^56 pieces");
    os::packet other;
    const auto ready = wire_writer().put(message::ready);
    other.bytes.assign(ready.bytes().begin(), ready.bytes().end());
    expect_malformed(std::move(other), "another message");
}

TEST(messages, a_piece_of_a_file_that_isnt_there_is_refused) {
    server_setup s = full_setup();
    s.pieces[1].file = 2;
    const auto map = s.make_map({});
    ASSERT_FALSE(map);
    EXPECT_EQ(map.error().text, "the image map names a file that isn't there");
}

TEST(messages, the_small_ones_are_what_their_names_say) {
    auto ends = os::channel::make_pair().value();
    const unique_fd file = some_file();
    ASSERT_TRUE(send_simple(ends.first, message::pong));
    ASSERT_TRUE(send_hello(ends.first, role::server));
    ASSERT_TRUE(send_connection_ended(ends.first, 3, connection_end::cut));
    ASSERT_TRUE(send_replacement(ends.first, 5, file));
    const auto next = [&] { return ends.second.receive(os::in_time(30s)).value(); };
    {
        const os::packet p = next();
        wire_reader body(p.bytes);
        EXPECT_TRUE(body.get<message>() == message::pong && body.done());
    }
    {
        const os::packet p = next();
        wire_reader body(p.bytes);
        EXPECT_TRUE(body.get<message>() == message::hello && body.get<role>() == role::server && body.done());
    }
    {
        const os::packet p = next();
        wire_reader body(p.bytes);
        EXPECT_EQ(body.get<message>(), message::connection_ended);
        EXPECT_EQ(body.get<std::uint32_t>(), 3u);
        EXPECT_EQ(body.get<connection_end>(), connection_end::cut);
        EXPECT_TRUE(body.done());
    }
    {
        const os::packet p = next();
        wire_reader body(p.bytes);
        EXPECT_EQ(body.get<message>(), message::replace_socket);
        EXPECT_EQ(body.get<std::uint32_t>(), 5u);
        EXPECT_TRUE(body.done());
        ASSERT_EQ(p.fds.size(), 1u);
        EXPECT_EQ(identity(p.fds[0]), identity(file));
    }
}

}  // namespace
}  // namespace nerofs::serve
