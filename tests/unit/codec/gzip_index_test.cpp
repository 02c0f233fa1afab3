#include "codec/gzip_index.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <zlib.h>

#include "gzip_data.h"

namespace nerofs::codec {
namespace {

using namespace test;

void expect_windows_of(const std::vector<kept_checkpoint>& checkpoints, const bytes& member,
                       std::uint64_t starts_at = 0) {
    for (const auto& at : checkpoints) {
        if (at.decoded_offset < starts_at || at.decoded_offset >= starts_at + member.size()) continue;
        const std::size_t before = at.decoded_offset - starts_at;
        ASSERT_EQ(at.window.size(), std::min(before, gzip_window_bytes)) << at.decoded_offset;
        EXPECT_TRUE(std::equal(at.window.begin(), at.window.end(),
                               member.begin() + static_cast<std::ptrdiff_t>(before - at.window.size())));
    }
}

TEST(gzip_index, gives_the_content_and_checkpoints_with_the_content_before_them) {
    const bytes plain = text(5'000'000);
    const bytes stream = gzip(plain);
    const auto made = index_of(stream, spans_of(500'000));
    ASSERT_TRUE(made) << made.error().message();
    EXPECT_TRUE(made->decoded == plain);
    EXPECT_EQ(made->totals.compressed_bytes, stream.size());
    EXPECT_EQ(made->totals.decoded_bytes, plain.size());
    EXPECT_EQ(made->totals.members, 1U);
    ASSERT_GE(made->checkpoints.size(), 5U);
    EXPECT_LE(made->checkpoints.size(), 10U);
    EXPECT_EQ(made->checkpoints[0].compressed_offset, 10U);
    EXPECT_EQ(made->checkpoints[0].decoded_offset, 0U);
    EXPECT_EQ(made->checkpoints[0].bits, 0U);
    for (std::size_t i = 1; i < made->checkpoints.size(); ++i)
        EXPECT_GT(made->checkpoints[i].decoded_offset - made->checkpoints[i - 1].decoded_offset, 500'000U);
    expect_windows_of(made->checkpoints, plain);
}

TEST(gzip_index, is_the_same_whatever_the_pieces) {
    const bytes plain = text(300'000) + noise(100'000) + text(200'000, 2);
    const bytes stream = gzip(plain, {.full_header = true}) + gzip({}) + gzip(plain, {.level = 1}) + bytes(100);
    const auto whole = index_of(stream, spans_of(60'000));
    ASSERT_TRUE(whole) << whole.error().message();
    EXPECT_TRUE(whole->decoded == plain + plain);
    for (const std::size_t piece : {1U, 2U, 7U, 4096U, 100'000U}) {
        const auto made = index_of(stream, spans_of(60'000), piece);
        ASSERT_TRUE(made) << made.error().message();
        EXPECT_TRUE(made->decoded == whole->decoded);
        EXPECT_TRUE(made->checkpoints == whole->checkpoints) << piece;
        EXPECT_EQ(made->totals.compressed_bytes, stream.size());
        EXPECT_EQ(made->totals.members, 3U);
    }
}

TEST(gzip_index, takes_every_kind_of_block) {
    const bytes plain = text(200'000) + bytes(300'000) + noise(200'000);
    for (const how way : {how{.level = 0}, how{.level = 1}, how{.level = 9}, how{.strategy = Z_FIXED},
                          how{.strategy = Z_HUFFMAN_ONLY}, how{.strategy = Z_RLE}}) {
        const auto made = index_of(gzip(plain, way), spans_of(50'000));
        ASSERT_TRUE(made) << made.error().message();
        EXPECT_TRUE(made->decoded == plain);
        EXPECT_GE(made->checkpoints.size(), 3U);
        expect_windows_of(made->checkpoints, plain);
    }
}

TEST(gzip_index, members_get_a_checkpoint_where_asked_for) {
    const bytes plain = text(100'000);
    const bytes member = gzip(plain, {.full_header = true});
    const bytes stream = member + gzip({}) + member;
    auto options = spans_of(1 << 20);
    ASSERT_EQ(index_of(stream, options)->checkpoints.size(), 1U);
    options.at_every_member = true;
    const auto made = index_of(stream, options);
    ASSERT_TRUE(made);
    ASSERT_EQ(made->checkpoints.size(), 3U);
    EXPECT_EQ(made->checkpoints[1].compressed_offset, member.size() + 10);
    EXPECT_EQ(made->checkpoints[1].decoded_offset, plain.size());
    EXPECT_TRUE(made->checkpoints[1].window.empty());
    EXPECT_EQ(made->checkpoints[2].compressed_offset,
              member.size() + gzip({}).size() + made->checkpoints[0].compressed_offset);
    EXPECT_EQ(made->checkpoints[2].decoded_offset, plain.size());
    EXPECT_TRUE(made->checkpoints[2].window.empty());
}

TEST(gzip_index, the_window_never_reaches_into_the_member_before) {
    const bytes first = text(70'000);
    const bytes second = text(150'000, 9);
    const auto made = index_of(gzip(first) + gzip(second), spans_of(80'000));
    ASSERT_TRUE(made);
    ASSERT_GE(made->checkpoints.size(), 2U);
    expect_windows_of(made->checkpoints, second, first.size());
}

TEST(gzip_index, an_empty_member_is_a_stream_and_no_bytes_are_not) {
    const auto made = index_of(gzip({}), spans_of(1));
    ASSERT_TRUE(made);
    EXPECT_EQ(made->totals.members, 1U);
    ASSERT_EQ(made->checkpoints.size(), 1U);
    const auto none = index_of({}, spans_of(1));
    ASSERT_FALSE(none);
    EXPECT_EQ(none.error().kind, error_kind::corrupt);
    EXPECT_EQ(none.error().text, "gzip stream: it is empty (near byte 0)");
}

TEST(gzip_index, a_stream_that_is_cut_anywhere_is_corrupt) {
    const bytes stream = gzip(text(3000), {.full_header = true});
    for (std::size_t size = 0; size < stream.size(); ++size) {
        const auto made = index_of(std::span(stream).first(size), spans_of(100));
        ASSERT_FALSE(made) << size;
        EXPECT_EQ(made.error().kind, error_kind::corrupt);
    }
}

TEST(gzip_index, every_flipped_bit_that_changes_the_content_is_found) {
    const bytes plain = text(2000);
    const bytes stream = gzip(plain);
    for (std::size_t i = 0; i < stream.size() * 8; ++i) {
        bytes damaged = stream;
        damaged[i / 8] ^= static_cast<std::byte>(1U << (i % 8));
        const auto made = index_of(damaged, spans_of(100));
        if (made)
            EXPECT_TRUE(made->decoded == plain) << "bit " << i;  // in the header: time, system
        else
            EXPECT_EQ(made.error().kind, error_kind::corrupt);
    }
}

TEST(gzip_index, checks_checksum_and_length_of_each_member) {
    const bytes member = gzip(text(2000));
    for (const std::size_t from_end : {1U, 5U}) {
        bytes damaged = member;
        damaged[damaged.size() - from_end] ^= std::byte{1};
        for (const bytes& stream : {damaged, damaged + member, member + damaged}) {
            const auto made = index_of(stream, spans_of(100));
            ASSERT_FALSE(made);
            EXPECT_EQ(made.error().kind, error_kind::corrupt);
            EXPECT_THAT(made.error().text,
                        testing::HasSubstr(from_end == 1 ? "incorrect length check" : "incorrect data check"));
        }
    }
}

TEST(gzip_index, zeros_behind_the_last_member_are_padding_and_anything_else_is_not) {
    const bytes member = gzip(text(2000));
    EXPECT_TRUE(index_of(member + bytes(5000), spans_of(100), 512));
    for (const bytes& stream : {member + bytes(10) + member, member + text(10), bytes(10) + member, bytes(10)}) {
        const auto made = index_of(stream, spans_of(100));
        ASSERT_FALSE(made);
        EXPECT_EQ(made.error().kind, error_kind::corrupt);
    }
}

TEST(gzip_index, a_bomb_ends_at_the_limit) {
    const bytes stream = gzip(bytes(50'000'000));
    std::uint64_t given = 0;
    gzip_indexer indexer({.max_decoded_bytes = 1'000'000}, {.decoded =
                                                                [&given](std::span<const std::byte> more) {
                                                                    given += more.size();
                                                                    return status{};
                                                                },
                                                            .checkpoint = {}});
    const auto pushed = indexer.push(stream);
    ASSERT_FALSE(pushed);
    EXPECT_EQ(pushed.error().kind, error_kind::permanent);
    EXPECT_EQ(pushed.error().text, "gzip stream: decodes to more than 1000000 bytes");
    EXPECT_LE(given, 1'000'000U);
    EXPECT_EQ(indexer.push(stream).error().kind, error_kind::usage);
    EXPECT_EQ(indexer.finish().error().kind, error_kind::usage);
    auto options = spans_of(1 << 20);
    options.max_decoded_bytes = 50'000'000;
    EXPECT_TRUE(index_of(stream, options));
}

TEST(gzip_index, endless_members_end_at_the_limit) {
    bytes stream;
    for (int i = 0; i < 100; ++i) stream = std::move(stream) + gzip({});
    auto options = spans_of(1 << 20);
    EXPECT_EQ(index_of(stream, options)->checkpoints.size(), 1U);
    options.at_every_member = true;
    options.max_checkpoints = 99;
    EXPECT_EQ(index_of(stream, options).error().kind, error_kind::permanent);
    options.max_checkpoints = 100;
    EXPECT_EQ(index_of(stream, options)->checkpoints.size(), 100U);
}

TEST(gzip_index, an_error_of_the_caller_ends_it) {
    const bytes stream = gzip(text(100'000));
    const auto refuse = [](const auto&) { return status(fail(error_kind::cancelled, "enough")); };
    for (const bool at_checkpoint : {false, true}) {
        gzip_index_events events;
        if (at_checkpoint)
            events.checkpoint = refuse;
        else
            events.decoded = refuse;
        gzip_indexer indexer(spans_of(1000), events);
        EXPECT_EQ(indexer.push(stream).error().kind, error_kind::cancelled);
        EXPECT_EQ(indexer.finish().error().kind, error_kind::usage);
    }
}

}  // namespace
}  // namespace nerofs::codec
