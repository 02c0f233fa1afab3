#include "os/channel.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <thread>

#include "base/wire.h"
#include "os/event_loop.h"
#include "os/files.h"

namespace nerofs::os {
namespace {

using namespace std::chrono_literals;

TEST(channel, a_packet_arrives_whole_with_its_descriptors_and_they_are_close_on_exec) {
    auto ends = channel::make_pair();
    ASSERT_TRUE(ends);
    int pipe_ends[2];
    ASSERT_EQ(::pipe(pipe_ends), 0);
    const unique_fd in(pipe_ends[0]);
    unique_fd out(pipe_ends[1]);
    wire_writer body;
    body.put(7).put("text");
    const fd_ref sent[] = {out};
    ASSERT_TRUE(ends->first.send(body.bytes(), sent));
    auto got = ends->second.receive(in_time(5s));
    ASSERT_TRUE(got);
    EXPECT_TRUE(std::equal(got->bytes.begin(), got->bytes.end(), body.bytes().begin(), body.bytes().end()));
    ASSERT_EQ(got->fds.size(), 1u);
    EXPECT_EQ(::fcntl(got->fds[0].get(), F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
    ASSERT_EQ(::write(got->fds[0].get(), "x", 1), 1);
    char c = 0;
    ASSERT_EQ(::read(in.get(), &c, 1), 1);
    EXPECT_EQ(c, 'x');
}

TEST(channel, a_silent_peer_is_a_timeout_and_a_closed_one_is_cancelled) {
    auto ends = channel::make_pair();
    ASSERT_TRUE(ends);
    const auto nothing = ends->second.receive(in_time(10ms));
    ASSERT_FALSE(nothing);
    EXPECT_EQ(nothing.error().kind, error_kind::timeout);
    EXPECT_EQ(ends->second.receive_now().error().kind, error_kind::retryable);
    ends->first.close();
    EXPECT_EQ(ends->second.receive(in_time(5s)).error().kind, error_kind::cancelled);
    const std::byte one[1] = {};
    EXPECT_EQ(ends->second.send(one).error().kind, error_kind::cancelled);
}

TEST(channel, a_peer_that_does_not_read_never_blocks_the_sender) {
    auto ends = channel::make_pair();
    ASSERT_TRUE(ends);
    const std::vector<std::byte> large(channel::max_packet_bytes);
    status sent;
    for (int i = 0; i < 10000 && sent; ++i) sent = ends->first.send(large);
    ASSERT_FALSE(sent);
    EXPECT_EQ(sent.error().kind, error_kind::retryable);
    EXPECT_EQ(ends->first.send(std::vector<std::byte>(channel::max_packet_bytes + 1)).error().kind, error_kind::usage);
}

TEST(channel, a_named_socket_tells_who_sent_and_a_dead_one_is_not_found) {
    char directory[] = "/tmp/nerofs-channel-XXXXXX";
    ASSERT_NE(::mkdtemp(directory), nullptr);
    const std::string path = std::string(directory) + "/s";
    {
        const auto listening = listen_at(path);
        ASSERT_TRUE(listening);
        const auto caller = connect_to(path);
        ASSERT_TRUE(caller);
        const auto accepted = accept_from(*listening);
        ASSERT_TRUE(accepted);
        EXPECT_EQ(peer_of(*accepted)->pid, ::getpid());
        EXPECT_EQ(peer_of(*accepted)->uid, ::geteuid());
        const std::byte one[1] = {};
        ASSERT_TRUE(accepted->send(one));
        EXPECT_EQ(caller->receive(in_time(5s))->sender, ::getpid());
        EXPECT_EQ(accept_from(*listening).error().kind, error_kind::retryable);
    }
    EXPECT_EQ(connect_to(path).error().kind, error_kind::not_found);  // a stale name
    ASSERT_TRUE(listen_at(path)) << "replaces it";
    ::unlink(path.c_str());
    EXPECT_EQ(connect_to(path).error().kind, error_kind::not_found);
    ::rmdir(directory);
}

TEST(event_loop, events_timers_and_hang_ups_come_and_a_removed_handler_does_not) {
    auto loop = event_loop::make();
    ASSERT_TRUE(loop);
    auto data = stream_pair();
    auto watched = stream_pair();
    ASSERT_TRUE(data && watched);
    int hang_ups = 0;
    int reads = 0;
    ASSERT_TRUE(loop->add_hangup(watched->first, [&] { ++hang_ups; }));
    ASSERT_TRUE(loop->add(data->first, [&] {
        char c;
        ASSERT_EQ(::read(data->first.get(), &c, 1), 1);
        if (++reads == 2) loop->remove(data->first);
    }));
    const auto cancelled = loop->at(in_time(1ms), [] { FAIL() << "was cancelled"; });
    loop->cancel(cancelled);
    ASSERT_EQ(::write(watched->second.get(), "data is no hang-up", 18), 18);
    ASSERT_EQ(::write(data->second.get(), "abc", 3), 3);
    loop->at(in_time(30ms), [&] {
        EXPECT_EQ(hang_ups, 0);
        watched->second.reset();
    });
    loop->at(in_time(60ms), [&] { loop->stop(); });
    ASSERT_TRUE(loop->run());
    EXPECT_EQ(reads, 2) << "the third byte was nobody's";
    EXPECT_EQ(hang_ups, 1) << "and only once";
}

TEST(files, an_atomic_write_is_private_replaces_and_leaves_no_temporary) {
    char directory[] = "/tmp/nerofs-files-XXXXXX";
    ASSERT_NE(::mkdtemp(directory), nullptr);
    const std::string path = std::string(directory) + "/record";
    ASSERT_TRUE(write_file_atomically(path, "old"));
    ASSERT_TRUE(write_file_atomically(path, "new\n"));
    EXPECT_EQ(*read_small_file(path), "new\n");
    EXPECT_EQ(*read_attribute(path), "new");
    struct stat found {};
    ASSERT_EQ(::stat(path.c_str(), &found), 0);
    EXPECT_EQ(found.st_mode & 07777, 0600u);
    EXPECT_EQ(read_small_file(path, 3).error().kind, error_kind::corrupt);
    EXPECT_EQ(write_file_atomically(std::string(directory) + "/none/x", "x").error().kind, error_kind::not_found);
    ASSERT_TRUE(make_directories(std::string(directory) + "/a/b/c", 0700));
    ASSERT_TRUE(make_directories(std::string(directory) + "/a/b/c", 0700));
    EXPECT_FALSE(make_directories(path, 0700));
    ::unlink(path.c_str());
    for (const char* d : {"/a/b/c", "/a/b", "/a", ""})
        EXPECT_EQ(::rmdir((std::string(directory) + d).c_str()), 0) << "nothing else may be in it";
}

}  // namespace
}  // namespace nerofs::os
