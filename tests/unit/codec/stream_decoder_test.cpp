#include "codec/stream_decoder.h"

#include <gtest/gtest.h>
#include <zlib.h>

#include <algorithm>
#include <random>

#include "codec/zstd_bytes.h"
#include "gzip_data.h"

namespace nerofs::codec {
namespace {

using namespace test;

std::vector<inflater> inflaters() {
    if (has_isal()) return {inflater::zlib, inflater::isal};
    return {inflater::zlib};
}

// All that comes of a stream whose bytes are given in random pieces, into room of random sizes; empty on an error.
bytes decoded_in_pieces(stream_decoder& by, std::span<const std::byte> stream, std::size_t size, std::uint32_t seed) {
    std::minstd_rand random(seed);
    const auto some = [&](std::size_t most) {
        return std::min<std::size_t>(most, random() % (seed % 2 == 0 ? 9 : 70'000));
    };
    bytes out(size);
    std::size_t made = 0;
    std::span<const std::byte> piece;
    while (made < size) {
        if (piece.empty()) {
            piece = stream.first(some(stream.size()));
            stream = stream.subspan(piece.size());
        }
        const auto room = std::span(out).subspan(made, some(size - made));
        const auto progress = by.decode(piece, room);
        if (!progress) return {};
        EXPECT_LE(progress->made, room.size());
        piece = piece.subspan(progress->taken);
        made += progress->made;
        if (progress->made == 0 && !room.empty() && piece.empty() && stream.empty()) return {};
    }
    return out;
}

TEST(stream_decoder, pieces_of_any_size_from_any_checkpoint_give_the_content) {
    const bytes first = text(200'000) + noise(80'000) + bytes(300'000);
    const bytes plain = first + text(30'000, 4) + noise(70'000, 9);
    for (const how way : {how{}, how{.level = 0}, how{.level = 1}, how{.strategy = Z_FIXED}}) {
        const bytes stream =
            gzip(first, way) + gzip(text(30'000, 4)) + gzip(bytes{}, way) + gzip(noise(70'000, 9), way);
        const auto made = index_of(stream, spans_of(40'000));
        ASSERT_TRUE(made);
        ASSERT_TRUE(made->decoded == plain);
        std::uint32_t seed = 0;
        for (const auto& kept : made->checkpoints) {
            const auto expected = std::span(plain).subspan(kept.decoded_offset);
            for (const inflater by : inflaters()) {
                for (int twice = 0; twice < 2; ++twice) {
                    const auto decoder = decode_gzip_from(kept.view(), by);
                    ASSERT_TRUE(decoder);
                    const bytes got = decoded_in_pieces(**decoder, std::span(stream).subspan(kept.view().first_byte()),
                                                        expected.size(), ++seed);
                    EXPECT_TRUE(std::equal(got.begin(), got.end(), expected.begin(), expected.end()))
                        << kept.decoded_offset << " seed " << seed;
                }
            }
        }
    }
}

// ISA-L 2.30 takes a header's own checksum for wrong when the header comes in several pieces.
TEST(stream_decoder, zlib_takes_headers_with_everything_in_them_in_pieces) {
    const bytes plain = text(20'000) + text(30'000, 4);
    const bytes stream = gzip(text(20'000)) + gzip(text(30'000, 4), {.full_header = true});
    const auto made = index_of(stream, spans_of(1 << 20));
    ASSERT_TRUE(made);
    const auto from = made->checkpoints[0].view();
    const auto decoder = decode_gzip_from(from, inflater::zlib);
    EXPECT_TRUE(decoded_in_pieces(**decoder, std::span(stream).subspan(from.first_byte()), plain.size(), 2) == plain);
}

TEST(stream_decoder, a_stream_that_is_damaged_or_ends_is_told_apart_from_a_whole_one) {
    const bytes plain = text(100'000);
    const bytes stream = gzip(plain);
    const auto made = index_of(stream, spans_of(1 << 20));
    ASSERT_TRUE(made);
    const auto from = made->checkpoints[0].view();
    const auto body = std::span(stream).subspan(from.first_byte());
    for (const inflater by : inflaters()) {
        EXPECT_TRUE(
            decoded_in_pieces(**decode_gzip_from(from, by), body.first(body.size() / 2), plain.size(), 1).empty());
        bytes damaged(body.begin(), body.end());
        std::fill_n(damaged.begin() + 5'000, 50, std::byte{0xff});
        EXPECT_FALSE(decoded_in_pieces(**decode_gzip_from(from, by), damaged, plain.size(), 1) == plain);
    }
    EXPECT_EQ(decode_gzip_from({.compressed_offset = 0, .bits = 3}).error().kind, error_kind::usage);
}

TEST(stream_decoder, zstd_frames_in_pieces_of_any_size_give_the_content) {
    const bytes plain = text(300'000) + noise(50'000) + text(10);
    const bytes skippable = {
        std::byte{0x53}, std::byte{0x2a}, std::byte{0x4d}, std::byte{0x18}, std::byte{3}, {}, {}, {},
        std::byte{1},    std::byte{2},    std::byte{3}};
    const bytes stream =
        zstd_packed(text(300'000), 3) + skippable + zstd_packed(noise(50'000), 1) + zstd_packed(text(10), 1);
    for (std::uint32_t seed = 0; seed < 20; ++seed)
        EXPECT_TRUE(decoded_in_pieces(*decode_zstd(), stream, plain.size(), seed) == plain) << seed;
    EXPECT_TRUE(decoded_in_pieces(*decode_zstd(), std::span(stream).first(60'000), plain.size(), 1).empty());
}

TEST(zstd_bytes, come_back_unless_they_are_too_many_or_damaged) {
    const bytes plain = text(70'000);
    const bytes packed = zstd_packed(plain, 3);
    EXPECT_LT(packed.size(), plain.size() / 2);
    EXPECT_EQ(zstd_unpacked_bytes(packed), plain.size());
    EXPECT_TRUE(zstd_unpacked(packed, plain.size()).value() == plain);
    EXPECT_EQ(zstd_unpacked(packed, plain.size() - 1).error().kind, error_kind::corrupt);
    EXPECT_EQ(zstd_unpacked(std::span(packed).first(packed.size() - 1), plain.size()).error().kind,
              error_kind::corrupt);
    EXPECT_EQ(zstd_unpacked({}, 10).error().kind, error_kind::corrupt);
    EXPECT_TRUE(zstd_unpacked(zstd_packed({}, 3), 0).value().empty());
}

TEST(stream_decoder, gzip_begins_with_a_header) {
    const bytes plain = text(50'000) + noise(70'000, 3);
    const bytes stream = gzip(text(50'000)) + gzip(bytes{}) + gzip(noise(70'000, 3));
    for (const inflater by : inflaters()) {
        for (std::uint32_t seed = 0; seed < 4; ++seed)
            EXPECT_TRUE(decoded_in_pieces(**decode_gzip(by), stream, plain.size(), seed) == plain) << seed;
        EXPECT_TRUE(decoded_in_pieces(**decode_gzip(by), std::span(stream).subspan(1), plain.size(), 1).empty());
    }
}

}  // namespace
}  // namespace nerofs::codec
