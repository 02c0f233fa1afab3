#include "codec/zstd_seek.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <zstd.h>

#include <cstring>
#include <stdexcept>

#include "base/endian.h"
#include "gzip_data.h"

namespace nerofs::codec {
namespace {

using namespace test;

bytes zstd(std::span<const std::byte> plain, int level = 3, bool checksum = true, bool size = true) {
    ZSTD_CCtx* context = ZSTD_createCCtx();
    ZSTD_CCtx_setParameter(context, ZSTD_c_compressionLevel, level);
    ZSTD_CCtx_setParameter(context, ZSTD_c_checksumFlag, checksum ? 1 : 0);
    ZSTD_CCtx_setParameter(context, ZSTD_c_contentSizeFlag, size ? 1 : 0);
    bytes made(ZSTD_compressBound(plain.size()));
    const std::size_t length = ZSTD_compress2(context, made.data(), made.size(), plain.data(), plain.size());
    ZSTD_freeCCtx(context);
    if (ZSTD_isError(length) != 0) throw std::runtime_error("ZSTD_compress2");
    made.resize(length);
    return made;
}

bytes numbers(std::initializer_list<std::uint32_t> values) {
    bytes made;
    for (const std::uint32_t value : values) {
        const le32 number = value;
        const auto* raw = reinterpret_cast<const std::byte*>(&number);
        made.insert(made.end(), raw, raw + sizeof number);
    }
    return made;
}

bytes skippable(std::span<const std::byte> content) {
    return numbers({0x184d2a53, static_cast<std::uint32_t>(content.size())}) + content;
}

struct passed {
    bytes decoded;
    std::vector<zstd_frame> frames;
    zstd_totals totals;
};

result<passed> pass(std::span<const std::byte> stream, std::size_t piece = SIZE_MAX,
                    zstd_index_options options = {.max_decoded_bytes = 1 << 30}) {
    passed made;
    zstd_indexer indexer(options, {.decoded =
                                       [&made](std::span<const std::byte> more) {
                                           made.decoded.insert(made.decoded.end(), more.begin(), more.end());
                                           return status{};
                                       },
                                   .frame =
                                       [&made](const zstd_frame& frame) {
                                           if (frame.decoded_offset + frame.decoded_bytes != made.decoded.size())
                                               throw std::runtime_error("a frame doesn't end where the output is");
                                           made.frames.push_back(frame);
                                           return status{};
                                       }});
    while (!stream.empty()) {
        const auto now = stream.first(std::min(piece, stream.size()));
        NEROFS_CHECK(indexer.push(now));
        stream = stream.subspan(now.size());
    }
    NEROFS_TRY(made.totals, indexer.finish());
    return made;
}

TEST(zstd_seek, finds_the_frames_that_have_content_whatever_the_pieces) {
    const bytes some = text(600'000);
    const bytes more = noise(200'000);
    const bytes first = zstd(some);
    const bytes second = zstd(more, 1, false, false);
    const bytes third = zstd(some, 9);
    const bytes stream = skippable(text(100)) + first + zstd({}) + second + skippable({}) + third + skippable(text(5));
    const std::size_t at_second = 108 + first.size() + zstd({}).size();
    const std::vector<zstd_frame> expected = {
        {108, first.size(), 0, some.size()},
        {at_second, second.size(), some.size(), more.size()},
        {at_second + second.size() + 8, third.size(), some.size() + more.size(), some.size()}};
    for (const std::size_t piece : {SIZE_MAX, std::size_t{1}, std::size_t{3}, std::size_t{4096}}) {
        const auto made = pass(stream, piece);
        ASSERT_TRUE(made) << made.error().message();
        EXPECT_TRUE(made->decoded == some + more + some);
        EXPECT_TRUE(made->frames == expected) << piece;
        EXPECT_EQ(made->totals.compressed_bytes, stream.size());
        EXPECT_EQ(made->totals.decoded_bytes, made->decoded.size());
        EXPECT_EQ(made->totals.frames, 3U);
    }
    for (const auto& frame : expected) {
        const guarded in{std::span(stream).subspan(frame.compressed_offset, frame.compressed_bytes)};
        const guarded out(frame.decoded_bytes);
        ASSERT_TRUE(decode_zstd_frame(in.span(), out.span()));
        const bytes& plain = frame.decoded_bytes == more.size() ? more : some;
        EXPECT_TRUE(std::equal(plain.begin(), plain.end(), out.span().begin()));
    }
}

TEST(zstd_seek, a_stream_that_is_cut_or_is_something_else_is_corrupt) {
    const bytes frame = zstd(text(3000));
    for (std::size_t size = 0; size < frame.size(); ++size) {
        const auto made = pass(std::span(frame).first(size));
        ASSERT_FALSE(made) << size;
        EXPECT_EQ(made.error().kind, error_kind::corrupt);
        EXPECT_EQ(pass(frame + std::span(frame).first(size)).has_value(), size == 0);
    }
    EXPECT_EQ(pass({}).error().text, "zstd stream: it is empty (near byte 0)");
    EXPECT_EQ(pass(gzip(text(10))).error().text, "zstd stream: it isn't zstd (near byte 0)");
    EXPECT_THAT(pass(frame + gzip(text(10))).error().text, testing::HasSubstr("something else follows a frame"));
    // zstd 0.7's magic: a library may still take it.
    EXPECT_EQ(pass(numbers({0xfd2fb527, 0, 0, 0})).error().kind, error_kind::corrupt);
}

TEST(zstd_seek, damage_is_found_by_the_checksum) {
    const bytes plain = text(2000);
    const bytes frame = zstd(plain);
    for (std::size_t i = 4 * 8; i < frame.size() * 8; ++i) {
        bytes damaged = frame;
        damaged[i / 8] ^= static_cast<std::byte>(1U << (i % 8));
        if (const auto made = pass(damaged)) {
            EXPECT_TRUE(made->decoded == plain) << i;
        }
        const guarded out(plain.size());
        if (decode_zstd_frame(damaged, out.span())) {
            EXPECT_TRUE(std::equal(plain.begin(), plain.end(), out.span().begin())) << i;
        }
    }
}

TEST(zstd_seek, a_bomb_and_endless_frames_end_at_their_limits) {
    const bytes bomb = zstd(bytes(50'000'000));
    EXPECT_EQ(pass(bomb, SIZE_MAX, {.max_decoded_bytes = 1'000'000}).error().text,
              "zstd stream: decodes to more than 1000000 bytes");
    EXPECT_TRUE(pass(bomb, SIZE_MAX, {.max_decoded_bytes = 50'000'000}));
    bytes frames;
    for (int i = 0; i < 10; ++i) frames = std::move(frames) + zstd(text(10));
    EXPECT_EQ(pass(frames, SIZE_MAX, {.max_decoded_bytes = 1000, .max_frames = 9}).error().kind, error_kind::permanent);
    EXPECT_TRUE(pass(frames, SIZE_MAX, {.max_decoded_bytes = 1000, .max_frames = 10}));
}

TEST(zstd_seek, too_large_a_window_is_told) {
    // Magic, descriptor without content size, window descriptor 2^28, then a raw last block of 1 byte.
    bytes frame = numbers({0xfd2fb528});
    for (const int b : {0x00, (28 - 10) << 3, 0x09, 0x00, 0x00, 0x78}) frame.push_back(static_cast<std::byte>(b));
    EXPECT_EQ(pass(frame).error().kind, error_kind::unsupported);
    frame[5] = static_cast<std::byte>((27 - 10) << 3);
    EXPECT_TRUE(pass(frame));
}

TEST(zstd_seek, one_frame_is_decoded_and_nothing_else) {
    const bytes plain = text(3000);
    const bytes frame = zstd(plain);
    bytes out(plain.size());
    ASSERT_TRUE(decode_zstd_frame(frame, out));
    EXPECT_TRUE(out == plain);
    bytes larger(plain.size() + 1);
    bytes smaller(plain.size() - 1);
    for (const auto& failed :
         {decode_zstd_frame(frame, larger), decode_zstd_frame(frame, smaller), decode_zstd_frame(frame + frame, out),
          decode_zstd_frame(frame + bytes(1), out), decode_zstd_frame(std::span(frame).first(frame.size() - 1), out),
          decode_zstd_frame(skippable(plain), out), decode_zstd_frame({}, out)}) {
        ASSERT_FALSE(failed);
        EXPECT_EQ(failed.error().kind, error_kind::corrupt);
    }
}

// As zstd's contrib/seekable_format describes it.
bytes seek_table(std::initializer_list<std::uint32_t> entries, std::uint32_t frames, std::uint8_t descriptor) {
    bytes footer = numbers({frames}) + bytes{std::byte{descriptor}} + numbers({0x8f92eab1});
    return numbers({0x184d2a5e, static_cast<std::uint32_t>(4 * entries.size() + 9)}) + numbers(entries) + footer;
}

TEST(zstd_seek, the_seek_table_says_what_the_pass_finds) {
    const bytes first = zstd(text(5000));
    const bytes second = zstd(text(300, 2));
    const auto size = [](const bytes& b) { return static_cast<std::uint32_t>(b.size()); };
    const bytes plain_table = seek_table({size(first), 5000, size(second), 300}, 2, 0);
    const bytes with_checksums = seek_table({size(first), 5000, 77, size(second), 300, 78}, 2, 0x80);
    for (const bytes& table : {plain_table, with_checksums}) {
        const bytes stream = first + second + table;
        const auto length = zstd_seek_table_bytes(std::span(stream).last(zstd_seek_footer_bytes));
        ASSERT_TRUE(length);
        EXPECT_EQ(*length, table.size());
        const auto frames = parse_zstd_seek_table(std::span(stream).last(*length), stream.size());
        ASSERT_TRUE(frames) << frames.error().message();
        const auto made = pass(stream);
        ASSERT_TRUE(made);
        EXPECT_TRUE(*frames == made->frames);
    }
}

TEST(zstd_seek, a_table_that_cannot_be_is_refused) {
    const bytes table = seek_table({100, 5000, 50, 300}, 2, 0);
    ASSERT_TRUE(parse_zstd_seek_table(table, 150 + table.size()));
    EXPECT_EQ(parse_zstd_seek_table(table, 151 + table.size()).error().kind, error_kind::corrupt);
    EXPECT_EQ(parse_zstd_seek_table(table, 149 + table.size()).error().kind, error_kind::corrupt);
    EXPECT_EQ(parse_zstd_seek_table(table, 0).error().kind, error_kind::corrupt);
    EXPECT_EQ(parse_zstd_seek_table({}, 0).error().kind, error_kind::corrupt);
    for (const bytes& wrong : {seek_table({100, 5000, 50, 300}, 3, 0), seek_table({100, 5000, 50, 300}, 2, 0x80),
                               seek_table({100, 5000, 50, 300}, 2, 0x40), seek_table({150, 5000, 0, 300}, 2, 0)})
        EXPECT_EQ(parse_zstd_seek_table(wrong, 150 + wrong.size()).error().kind, error_kind::corrupt);
    bytes header = table;
    header[4] ^= std::byte{1};
    EXPECT_EQ(parse_zstd_seek_table(header, 150 + table.size()).error().kind, error_kind::corrupt);
    const auto footer_of = [](std::uint32_t frames) {
        const bytes made = seek_table({}, frames, 0);
        return bytes(made.end() - 9, made.end());
    };
    EXPECT_FALSE(zstd_seek_table_bytes(bytes(9)));
    EXPECT_TRUE(zstd_seek_table_bytes(footer_of(max_zstd_seek_frames)));
    EXPECT_FALSE(zstd_seek_table_bytes(footer_of(0xffffffff)));
    EXPECT_FALSE(zstd_seek_table_bytes(footer_of(max_zstd_seek_frames + 1)));
}

}  // namespace
}  // namespace nerofs::codec
