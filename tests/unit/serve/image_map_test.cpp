#include "serve/image_map.h"

#include <limits>
#include <string>

#include "support.h"

namespace nerofs::serve {
namespace {

constexpr std::uint64_t top = std::numeric_limits<std::uint64_t>::max();

std::string refusal(std::vector<segment> segments) {
    const auto map = image_map::make(std::move(segments));
    if (map) return "accepted";
    EXPECT_EQ(map.error().kind, error_kind::usage);
    return map.error().text;
}

TEST(image_map, a_gap_an_overlap_or_disorder_is_refused) {
    const unique_fd file = memory_file(content(0, 4096));
    const std::string text = "the image map has a gap or an overlap";
    EXPECT_EQ(refusal({{512, 4096, file, 0}}), text);                       // doesn't begin at 0
    EXPECT_EQ(refusal({{0, 4096, file, 0}, {4097, 512, file, 0}}), text);   // a gap
    EXPECT_EQ(refusal({{0, 4096, file, 0}, {4095, 512, file, 0}}), text);   // an overlap
    EXPECT_EQ(refusal({{4096, 4096, file, 0}, {0, 4096, file, 0}}), text);  // the wrong order
    EXPECT_EQ(refusal({{0, 4096, file, 0}, {4096, 0, file, 0}}), text);     // an empty one
    EXPECT_EQ(refusal({{0, 4096, fd_ref(), 0}}), text);                     // no file
    EXPECT_EQ(refusal({{0, 4096, file, 0}, {4096, 512, file, 0}}), "accepted");
}

TEST(image_map, numbers_that_overflow_are_refused) {
    const unique_fd file = memory_file(content(0, 4096));
    const std::string text = "the image map goes beyond the end of any file";
    EXPECT_EQ(refusal({{0, 4096, file, top - 4095}}), text);
    EXPECT_EQ(refusal({{0, 4096, file, top}}), text);
    EXPECT_EQ(refusal({{0, 4096, file, (top >> 1) - 4095}}), text);  // beyond off_t: would be a negative offset
    EXPECT_EQ(refusal({{0, 4096, file, (top >> 1) - 4096}}), "accepted");
    EXPECT_EQ(refusal({{0, top >> 1, file, 0}, {top >> 1, top >> 1, file, 0}, {top - 1, 2, file, 0}}),
              "the image map is too large");
}

TEST(image_map, a_map_of_nothing_has_size_0_and_no_pieces) {
    const auto map = image_map::make({});
    ASSERT_TRUE(map);
    EXPECT_EQ(map->size(), 0u);
    EXPECT_TRUE(map->for_each_piece(0, 0, [](fd_ref, std::uint64_t, std::uint64_t) { return false; }));
}

// Three files, the middle one used twice, none of them from its beginning.
struct three_files {
    unique_fd a = memory_file(with_prefix(7, 0, 1000));
    unique_fd b = memory_file(two_parts());
    unique_fd c = memory_file(with_prefix(4096, 3512, 70000));
    image_map map =
        image_map::make({{0, 1000, a, 7}, {1000, 512, b, 100}, {1512, 2000, b, 5000}, {3512, 70000, c, 4096}}).value();

    static bytes with_prefix(std::size_t prefix, std::uint64_t offset, std::size_t length) {
        bytes all(prefix, std::byte{0});
        const bytes part = content(offset, length);
        all.insert(all.end(), part.begin(), part.end());
        return all;
    }
    static bytes two_parts() {
        bytes all = with_prefix(100, 1000, 512);
        all.resize(5000);
        const bytes part = content(1512, 2000);
        all.insert(all.end(), part.begin(), part.end());
        return all;
    }
};

bytes read_through(const image_map& map, std::uint64_t offset, std::uint64_t length) {
    bytes all;
    EXPECT_TRUE(map.for_each_piece(offset, length, [&all](fd_ref file, std::uint64_t at, std::uint64_t n) {
        EXPECT_GT(n, 0u);
        bytes piece(n);
        EXPECT_EQ(::pread(file.get(), piece.data(), n, static_cast<off_t>(at)), static_cast<ssize_t>(n));
        all.insert(all.end(), piece.begin(), piece.end());
        return true;
    }));
    return all;
}

TEST(image_map, every_range_over_the_bounds_of_files_gets_the_bytes_of_the_device) {
    const three_files files;
    EXPECT_EQ(files.map.size(), 73512u);
    const std::uint64_t places[] = {0, 1, 511, 999, 1000, 1001, 1511, 1512, 1513, 3511, 3512, 3513, 73511, 73512};
    for (const std::uint64_t from : places) {
        for (const std::uint64_t to : places) {
            if (from > to) continue;
            EXPECT_EQ(read_through(files.map, from, to - from), content(from, to - from)) << from << ".." << to;
        }
    }
}

TEST(image_map, a_visit_that_fails_ends_the_walk) {
    const three_files files;
    unsigned visits = 0;
    EXPECT_FALSE(
        files.map.for_each_piece(0, 73512, [&](fd_ref, std::uint64_t, std::uint64_t) { return ++visits < 2; }));
    EXPECT_EQ(visits, 2u);
}

// By copy and by file, over every bound.
TEST(image_map, a_connection_answers_reads_over_several_files) {
    const three_files files;
    for (const std::uint32_t file_send_bytes : {1u, 1u << 30}) {
        served c(files.map, {.file_send_bytes = file_send_bytes});
        std::uint64_t cookie = 1;
        for (const std::uint64_t from : {0u, 999u, 1000u, 1511u, 1512u, 3511u, 3512u})
            for (const std::uint32_t length : {1u, 2u, 513u, 2513u, 3000u, 70000u}) c.read(++cookie, from, length);
        c.read(++cookie, 0, 73512);
        EXPECT_EQ(c.finish(), connection_end::closed);
    }
}

}  // namespace
}  // namespace nerofs::serve
