#include "codec/gzip_window.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "codec/gzip_span.h"
#include "gzip_data.h"

namespace nerofs::codec {
namespace {

using namespace test;

// The needed windows of all checkpoints: decoding by them gives the same. Returns how many of their bytes aren't zero.
std::size_t expect_windows(const bytes& stream, const bytes& plain) {
    const auto made = index_of(stream, spans_of(40'000));
    EXPECT_TRUE(made && made->checkpoints.size() > 2);
    std::size_t kept = 0;
    for (const auto& checkpoint : made->checkpoints) {
        gzip_checkpoint from = checkpoint.view();
        const auto compressed = std::span(stream).subspan(from.first_byte());
        const auto expected = std::span(plain).subspan(from.decoded_offset);
        const auto needed = needed_gzip_window(from, compressed, std::min(expected.size(), gzip_window_bytes));
        EXPECT_TRUE(needed) << needed.error().message();
        EXPECT_LE(needed->size(), from.window.size());
        kept += needed->size() - static_cast<std::size_t>(std::count(needed->begin(), needed->end(), std::byte{}));
        from.window = *needed;
        for (const inflater by : {inflater::zlib, inflater::fastest}) {
            bytes out(expected.size());
            EXPECT_TRUE(decode_gzip_span(from, compressed, out, by));
            EXPECT_TRUE(std::equal(out.begin(), out.end(), expected.begin())) << from.decoded_offset;
        }
    }
    return kept;
}

TEST(gzip_window, what_is_needed_of_it_decodes_the_same) {
    for (const int level : {1, 6, 9}) {
        const bytes plain = text(300'000) + noise(100'000) + bytes(100'000) + text(200'000, 3);
        EXPECT_GT(expect_windows(gzip(plain, {.level = level}), plain), 1000U);
    }
    const bytes plain = text(150'000) + text(150'000, 5);
    expect_windows(gzip(text(150'000)) + gzip(text(150'000, 5)), plain);
}

TEST(gzip_window, nothing_of_it_is_needed_by_what_refers_to_nothing) {
    EXPECT_EQ(expect_windows(gzip(noise(300'000), {.level = 9}), noise(300'000)), 0U);
    const bytes plain = text(300'000);
    EXPECT_EQ(expect_windows(gzip(plain, {.level = 0}), plain), 0U);
}

TEST(gzip_window, of_too_little_or_damaged_bytes_is_an_error) {
    const bytes plain = text(300'000);
    const bytes stream = gzip(plain);
    const auto made = index_of(stream, spans_of(40'000));
    ASSERT_TRUE(made);
    const gzip_checkpoint from = made->checkpoints[2].view();
    EXPECT_EQ(
        needed_gzip_window(from, std::span(stream).subspan(from.first_byte(), 100), gzip_window_bytes).error().kind,
        error_kind::corrupt);
}

}  // namespace
}  // namespace nerofs::codec
