// Bytes that can't be had: a file that has become shorter or can't be sent without a copy. EIO where nothing was
// promised yet, a cut stream where it was; never zeros, never bytes of another place.
#include <fcntl.h>

#include "serve/connection.h"
#include "support.h"

namespace nerofs::serve {
namespace {

using nbd::cmd;
using nbd::error_value;

constexpr std::uint64_t image_size = 1u << 20;
constexpr std::uint64_t left_size = 128 * 1024 + 100;

TEST(truncated_image, a_small_read_of_what_is_gone_is_eio_and_the_connection_goes_on) {
    const image i(image_size);
    served c(i.map());
    c.read(1, left_size, 4096);
    i.truncate(left_size);
    c.ask(cmd::read, 2, left_size, 4096);
    c.expect_reply(2, error_value::eio);
    c.ask(cmd::read, 3, left_size - 1, 2);  // half there
    c.expect_reply(3, error_value::eio);
    c.read(4, left_size - 100, 100);
    // Among others in one batch.
    const nbd::request all[] = {nbd::make_request(cmd::read, 5, 0, 4096), nbd::make_request(cmd::read, 6, 512000, 4096),
                                nbd::make_request(cmd::read, 7, 4096, 512)};
    c.send(std::as_bytes(std::span(all)));
    c.expect_read(5, 0, 4096);
    c.expect_reply(6, error_value::eio);
    c.expect_read(7, 4096, 512);
    EXPECT_EQ(c.finish(), connection_end::closed);
    EXPECT_EQ(c.its_journal().connection(0).errors, 3u);
}

TEST(truncated_image, a_promised_reply_is_cut_and_the_next_one_is_eio) {
    const image i(image_size);
    served c(i.map());
    c.read(1, 65536, 131072);
    i.truncate(left_size);
    c.ask(cmd::read, 2, 65536, 131072);
    c.expect_reply(2);
    const bytes got = c.take_bytes(131072);
    EXPECT_LE(got.size(), left_size - 65536);
    EXPECT_TRUE(is_content(got, 65536)) << "what came before the cut is right";
    c.expect_end();
    EXPECT_EQ(c.wait(), connection_end::cut);
    EXPECT_EQ(c.its_journal().header().copy_only, 1u);

    // The next connection of the mount, on the same journal as its keeper has reset it.
    c.its_journal().reset(0);
    auto [ours, theirs] = socket_pair();
    const client again(std::move(ours));
    std::jthread server([&, fd = fd_ref(theirs)] { connection(fd, i.map(), c.its_journal(), 0, {}).run(); });
    again.ask(cmd::read, 3, 65536, 131072);
    again.expect_reply(3, error_value::eio);
    again.read(4, 0, left_size);
    again.no_more_requests();
}

TEST(truncated_image, a_large_read_that_begins_beyond_the_end_is_cut_before_its_first_byte) {
    const image i(image_size);
    served c(i.map());
    i.truncate(left_size);
    c.ask(cmd::read, 2, 512 * 1024, 131072);
    c.expect_reply(2);
    c.expect_end();
    EXPECT_EQ(c.wait(), connection_end::cut);
}

// /proc/self/mem can be read at an address but not be sent by sendfile(2).
struct unsendable {
    bytes memory = content(0, image_size);
    unique_fd file{::open("/proc/self/mem", O_RDONLY | O_CLOEXEC)};
    image_map map = image_map::make({{0, image_size, file, reinterpret_cast<std::uint64_t>(memory.data())}}).value();
};

TEST(copy_only, a_file_that_cannot_be_sent_is_copied_from_then_on) {
    const unsendable u;
    ASSERT_TRUE(u.file);
    served c(u.map);
    EXPECT_EQ(c.its_journal().header().copy_only, 0u);
    c.read(1, 0, 1000000);  // promised, then found to be unsendable: completed by copies
    EXPECT_EQ(c.its_journal().header().copy_only, 1u);
    c.read(2, 12345, 1000000);
    c.read(3, 0, 65536);
    c.read(4, 1, 512);
    EXPECT_EQ(c.finish(), connection_end::closed);
}

TEST(copy_only, large_reads_and_small_ones_share_a_batch) {
    const image i(image_size);
    served c(i.map());
    c.its_journal().header().copy_only = 1;
    std::vector<nbd::request> all;
    for (unsigned n = 0; n < 100; ++n)
        all.push_back(nbd::make_request(cmd::read, n + 1, n * 1000, n % 10 == 5 ? 900000 : n % 3 == 1 ? 70000 : 4096));
    c.send(std::as_bytes(std::span(all)));
    for (const nbd::request& r : all) c.expect_read(r.cookie, r.offset, r.length);
}

TEST(copy_only, what_is_gone_is_eio_however_long_the_read) {
    const image i(image_size);
    served c(i.map());
    c.its_journal().header().copy_only = 1;
    i.truncate(left_size);
    c.ask(cmd::read, 1, 65536, 131072);
    c.expect_reply(1, error_value::eio);
    c.ask(cmd::read, 2, 0, 1u << 20);
    c.expect_reply(2, error_value::eio);
    c.read(3, 0, left_size);
}

}  // namespace
}  // namespace nerofs::serve
