#include "codec/gzip_span.h"

#include <gtest/gtest.h>
#include <zlib.h>

#include <algorithm>
#include <random>

#include "gzip_data.h"

namespace nerofs::codec {
namespace {

using namespace test;

std::vector<inflater> inflaters() {
    if (has_isal()) return {inflater::zlib, inflater::isal, inflater::fastest};
    return {inflater::zlib, inflater::fastest};
}

// Every span of the stream by every decoder, from memory that ends where the span does, to memory that ends there, too.
void expect_spans(const bytes& stream, const bytes& plain, const gzip_index_options& options) {
    const auto made = index_of(stream, options);
    ASSERT_TRUE(made) << made.error().message();
    ASSERT_TRUE(made->decoded == plain);
    for (std::size_t i = 0; i < made->checkpoints.size(); ++i) {
        const gzip_checkpoint from = made->checkpoints[i].view();
        const bool last = i + 1 == made->checkpoints.size();
        const std::uint64_t compressed_end = last ? stream.size() : made->checkpoints[i + 1].compressed_offset;
        const std::uint64_t decoded_end = last ? plain.size() : made->checkpoints[i + 1].decoded_offset;
        const guarded in{std::span(stream).subspan(from.first_byte(), compressed_end - from.first_byte())};
        const auto expected = std::span(plain).subspan(from.decoded_offset, decoded_end - from.decoded_offset);
        for (const inflater by : inflaters()) {
            const guarded out(expected.size());
            const auto decoded = decode_gzip_span(from, in.span(), out.span(), by);
            ASSERT_TRUE(decoded) << decoded.error().message();
            EXPECT_TRUE(std::equal(expected.begin(), expected.end(), out.span().begin())) << i;
            const guarded part(expected.size() / 3);
            ASSERT_TRUE(decode_gzip_span(from, in.span(), part.span(), by));
            EXPECT_TRUE(std::equal(part.span().begin(), part.span().end(), expected.begin())) << i;
        }
    }
}

TEST(gzip_span, each_span_of_every_kind_of_block_decodes_to_its_content) {
    const bytes plain = text(200'000) + bytes(300'000) + noise(200'000) + text(200'000, 5);
    for (const how way : {how{}, how{.level = 0}, how{.level = 1}, how{.level = 9}, how{.strategy = Z_FIXED},
                          how{.strategy = Z_HUFFMAN_ONLY}, how{.strategy = Z_RLE}, how{.full_header = true}})
        expect_spans(gzip(plain, way), plain, spans_of(50'000));
}

TEST(gzip_span, begins_at_every_bit_of_a_byte) {
    const bytes plain = text(3'000'000);
    const bytes stream = gzip(plain, {.level = 1});
    const auto made = index_of(stream, spans_of(1));
    ASSERT_TRUE(made);
    std::array<int, 8> seen{};
    for (const auto& at : made->checkpoints) ++seen[at.bits];
    for (const int count : seen) EXPECT_GT(count, 0);
    expect_spans(stream, plain, spans_of(1));
}

TEST(gzip_span, goes_on_over_members) {
    const bytes some = text(70'000);
    const bytes more = text(150'000, 9);
    const bytes stream = gzip(some) + gzip({}) + gzip(more, {.full_header = true}) + gzip(std::span(some).first(1)) +
                         gzip(some) + gzip({}) + bytes(100);
    const bytes plain = some + more + std::span(some).first(1) + some;
    for (const std::uint64_t span : {10'000U, 80'000U, 200'000U, 10'000'000U}) {
        expect_spans(stream, plain, spans_of(span));
        auto options = spans_of(span);
        options.at_every_member = true;
        expect_spans(stream, plain, options);
    }
}

TEST(gzip_span, checks_members_that_lie_in_it_as_a_whole) {
    const bytes some = text(3000);
    const bytes member = gzip(some);
    bytes stream = member + member + member;
    stream[2 * member.size() - 6] ^= std::byte{1};
    bytes out(9000);
    for (const inflater by : inflaters()) {
        const auto decoded = decode_gzip_span({.compressed_offset = 10}, std::span(stream).subspan(10), out, by);
        ASSERT_FALSE(decoded);
        EXPECT_EQ(decoded.error().kind, error_kind::corrupt);
    }
}

TEST(gzip_span, too_few_bytes_are_corrupt) {
    const bytes plain = text(5000);
    const bytes member = gzip(plain);
    const bytes stream = member + member;
    bytes out(10'000);
    for (const inflater by : inflaters()) {
        // At most all but the last member's checksum, the end of its block, and a byte or two.
        for (std::size_t size = 1; size < stream.size() - 10 - 12; ++size) {
            const guarded in{std::span(stream).subspan(10, size - 1)};
            const auto decoded = decode_gzip_span({.compressed_offset = 10}, in.span(), out, by);
            ASSERT_FALSE(decoded) << size;
            EXPECT_EQ(decoded.error().kind, error_kind::corrupt);
        }
        // More than the stream has.
        bytes larger(10'001);
        EXPECT_EQ(decode_gzip_span({.compressed_offset = 10}, std::span(stream).subspan(10), larger, by).error().kind,
                  error_kind::corrupt);
    }
}

TEST(gzip_span, damage_never_makes_them_overrun_or_disagree) {
    const bytes plain = text(100'000) + noise(3000) + text(50'000, 4);
    const bytes stream = gzip(plain);
    const auto made = index_of(stream, spans_of(40'000));
    ASSERT_TRUE(made);
    ASSERT_GE(made->checkpoints.size(), 2U);
    const gzip_checkpoint from = made->checkpoints[1].view();
    const auto right = std::span(stream).subspan(from.first_byte());
    const guarded in(right);
    const guarded by_zlib(plain.size() - from.decoded_offset);
    const guarded by_isal(plain.size() - from.decoded_offset);
    std::minstd_rand random(7);
    int refused = 0;
    for (int i = 0; i < 1500; ++i) {
        std::copy(right.begin(), right.end(), in.span().begin());
        for (auto flips = 1 + random() % 3; flips != 0; --flips)
            in.span()[random() % right.size()] ^= static_cast<std::byte>(1U << (random() % 8));
        const auto a = decode_gzip_span(from, in.span(), by_zlib.span(), inflater::zlib);
        if (!a) {
            ++refused;
            EXPECT_EQ(a.error().kind, error_kind::corrupt);
        }
        if (!has_isal()) continue;
        const auto b = decode_gzip_span(from, in.span(), by_isal.span(), inflater::isal);
        if (a) {
            ASSERT_TRUE(b) << i << ": " << b.error().message();
        }
        if (a && b) {
            ASSERT_TRUE(std::equal(by_zlib.span().begin(), by_zlib.span().end(), by_isal.span().begin())) << i;
        }
    }
    EXPECT_GT(refused, 500);
}

TEST(gzip_span, a_checkpoint_that_cannot_be_is_refused) {
    const bytes stream = gzip(text(100));
    const bytes window(gzip_window_bytes + 1);
    bytes out(100);
    for (const gzip_checkpoint from :
         {gzip_checkpoint{.compressed_offset = 10, .bits = 8}, gzip_checkpoint{.compressed_offset = 0, .bits = 1},
          gzip_checkpoint{.compressed_offset = 10, .window = window}})
        for (const inflater by : inflaters())
            EXPECT_EQ(decode_gzip_span(from, stream, out, by).error().kind, error_kind::usage);
    EXPECT_TRUE(decode_gzip_span({.compressed_offset = 10}, {}, {}));
    EXPECT_EQ(decode_gzip_span({.compressed_offset = 10}, {}, out).error().kind, error_kind::corrupt);
}

TEST(gzip_span, a_build_without_isal_says_so) {
    if (has_isal()) GTEST_SKIP() << "this build has ISA-L";
    bytes out(1);
    EXPECT_EQ(decode_gzip_span({.compressed_offset = 10}, bytes(10), out, inflater::isal).error().kind,
              error_kind::unsupported);
}

}  // namespace
}  // namespace nerofs::codec
