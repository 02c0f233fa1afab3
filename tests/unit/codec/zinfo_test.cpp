#include "codec/zinfo.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>

#include "base/endian.h"
#include "codec/gzip_span.h"
#include "gzip_data.h"
#include "support/zstd_file.h"

namespace nerofs::codec {
namespace {

using namespace test;
using testing::HasSubstr;

const std::string samples = NEROFS_TEST_DATA "/samples/";

bytes sample(const std::string& name) {
    return nerofs::test::read_file(samples + name);
}

// What erofs-utils' mkfs.erofs asks for.
gzip_index_options as_the_other_tools() {
    auto options = spans_of(default_zinfo_span_bytes);
    options.at_every_member = true;
    return options;
}

result<bytes> written(std::span<const std::byte> stream) {
    NEROFS_TRY(const auto made, index_of(stream, as_the_other_tools()));
    zinfo_writer writer;
    for (const auto& at : made.checkpoints) NEROFS_CHECK(writer.append(at.view()));
    return std::move(writer).finish();
}

template <class T>
void put(bytes& file, std::size_t offset, T value) {
    std::memcpy(file.data() + offset, &value, sizeof value);
}

constexpr std::size_t entry_at(std::size_t index) {
    return zinfo_header_bytes + index * zinfo_checkpoint_bytes;
}

TEST(zinfo, of_a_single_member_is_written_as_mkfs_erofs_writes_it) {
    for (const std::string name : {"gnu", "pax"}) {
        const auto file = written(sample(name + ".tar.gz"));
        ASSERT_TRUE(file) << file.error().message();
        EXPECT_TRUE(*file == sample(name + ".zinfo")) << name;
    }
}

TEST(zinfo, of_two_members_differs_only_in_the_window_that_is_not_read) {
    const bytes theirs = sample("members.zinfo");
    const auto ours = written(sample("members.tar.gz"));
    ASSERT_TRUE(ours);
    ASSERT_EQ(ours->size(), theirs.size());
    // The third checkpoint is where the second member starts: 17 bytes, and a window that nothing refers to. Theirs
    // holds what was left in a buffer, ours zeros.
    const std::size_t window = entry_at(2) + 17;
    EXPECT_TRUE(std::equal(theirs.begin(), theirs.begin() + window, ours->begin()));
    EXPECT_TRUE(std::equal(theirs.begin() + window + gzip_window_bytes, theirs.end(),
                           ours->begin() + window + gzip_window_bytes));
    EXPECT_TRUE(std::all_of(ours->begin() + window, ours->begin() + window + gzip_window_bytes,
                            [](std::byte b) { return b == std::byte{}; }));
}

TEST(zinfo, each_span_of_the_other_tools_file_decodes_to_its_part_of_the_stream) {
    const bytes stream = sample("members.tar.gz");
    const bytes file = sample("members.zinfo");
    const auto spans = zinfo::parse(file, stream.size());
    ASSERT_TRUE(spans) << spans.error().message();
    EXPECT_EQ(spans->version(), 2);
    EXPECT_EQ(spans->span_bytes(), default_zinfo_span_bytes);
    ASSERT_EQ(spans->size(), 4U);
    const auto made = index_of(stream, spans_of(1 << 20));  // its checksums have been checked
    ASSERT_TRUE(made);
    const bytes& plain = made->decoded;
    ASSERT_EQ(plain.size(), 13649920U);
    for (std::size_t i = 0; i < 4; ++i) {
        const auto from = spans->at(i);
        const auto end = i == 3 ? gzip_checkpoint{.compressed_offset = stream.size(), .decoded_offset = plain.size()}
                                : spans->at(i + 1);
        const auto in = std::span(stream).subspan(from.first_byte(), end.compressed_offset - from.first_byte());
        bytes out(end.decoded_offset - from.decoded_offset);
        for (const inflater by : {inflater::zlib, inflater::fastest}) {
            ASSERT_TRUE(decode_gzip_span(from, in, out, by));
            EXPECT_TRUE(
                std::equal(out.begin(), out.end(), plain.begin() + static_cast<std::ptrdiff_t>(from.decoded_offset)));
        }
        EXPECT_EQ(spans->find(from.decoded_offset), i);
        EXPECT_EQ(spans->find(end.decoded_offset - 1), i);
    }
    EXPECT_EQ(spans->find(UINT64_MAX), 3U);
}

TEST(zinfo, version_1_has_its_first_checkpoint_implied) {
    const bytes second = sample("members.zinfo");
    bytes first(second.begin(), second.begin() + zinfo_header_bytes);
    first.insert(first.end(), second.begin() + static_cast<std::ptrdiff_t>(entry_at(1)), second.end());
    const auto old = zinfo::parse(first, 3157575);
    const auto now = zinfo::parse(second, 3157575);
    ASSERT_TRUE(old && now);
    EXPECT_EQ(old->version(), 1);
    ASSERT_EQ(old->size(), 4U);
    for (std::size_t i = 0; i < 4; ++i) {
        EXPECT_EQ(old->at(i).compressed_offset, now->at(i).compressed_offset);
        EXPECT_EQ(old->at(i).decoded_offset, now->at(i).decoded_offset);
        EXPECT_EQ(old->at(i).bits, now->at(i).bits);
        EXPECT_TRUE(std::equal(old->at(i).window.begin(), old->at(i).window.end(), now->at(i).window.begin(),
                               now->at(i).window.end()));
        EXPECT_EQ(old->find(now->at(i).decoded_offset), i);
    }
    first.resize(zinfo_header_bytes);
    put(first, 0, le32(1));
    const auto smallest = zinfo::parse(first, 20);
    ASSERT_TRUE(smallest);
    EXPECT_EQ(smallest->at(0).compressed_offset, 10U);
    EXPECT_TRUE(smallest->at(0).window.empty());
}

TEST(zinfo, what_it_cannot_be_is_refused) {
    const bytes good = sample("members.zinfo");
    const auto why = [](const bytes& file, std::uint64_t compressed = 3157575) {
        const auto parsed = zinfo::parse(file, compressed);
        if (parsed) return std::string("taken");
        EXPECT_EQ(parsed.error().kind, error_kind::corrupt);
        return parsed.error().text;
    };
    const auto with = [&good](std::size_t offset, auto value) {
        bytes file = good;
        put(file, offset, value);
        return file;
    };
    EXPECT_EQ(why(good), "taken");
    EXPECT_EQ(why({}), "zinfo: shorter than its header");
    EXPECT_EQ(why(bytes(11)), "zinfo: shorter than its header");
    EXPECT_EQ(why(with(0, le32(0))), "zinfo: no checkpoints");
    EXPECT_EQ(why(with(0, le32(3))), "zinfo: 131152 bytes can't hold 3 checkpoints");
    EXPECT_EQ(why(with(0, le32(6))), "zinfo: 131152 bytes can't hold 6 checkpoints");
    // 4 + 2^32 / 32785, so that a product of 32 bits would be the size of some file.
    EXPECT_EQ(why(with(0, le32(131009))), "zinfo: 131152 bytes can't hold 131009 checkpoints");
    EXPECT_EQ(why(with(0, le32(0xffffffff))), "zinfo: 4294967295 checkpoints, the most are 131072");
    EXPECT_EQ(why(with(4, le64(0))), "zinfo: spans of 0 bytes");
    EXPECT_EQ(why(with(entry_at(0), le64(9))), "zinfo: checkpoint 0 isn't the start of a stream");
    EXPECT_EQ(why(with(entry_at(0) + 8, le64(1))), "zinfo: checkpoint 0 isn't the start of a stream");
    EXPECT_EQ(why(with(entry_at(2), le64(1017381))), "zinfo: checkpoint 2 isn't behind the one before");
    EXPECT_EQ(why(with(entry_at(2) + 8, le64(4396894))), "zinfo: checkpoint 2 isn't behind the one before");
    EXPECT_EQ(why(with(entry_at(3) + 16, std::uint8_t{8})), "zinfo: checkpoint 3 takes more than 7 bits of a byte");
    EXPECT_EQ(why(with(entry_at(3), le64(UINT64_MAX))), "zinfo: checkpoint 3 is behind the end of the stream");
    EXPECT_EQ(why(with(entry_at(3) + 8, le64(UINT64_MAX))),
              "zinfo: checkpoint 3 is further than the bytes before it can decode to");
    EXPECT_EQ(why(good, 2174759), "zinfo: checkpoint 3 is behind the end of the stream");
    bytes cut = good;
    cut.pop_back();
    EXPECT_THAT(why(cut), HasSubstr("can't hold 4"));
    EXPECT_THAT(why(good + bytes(1)), HasSubstr("can't hold 4"));
}

TEST(zinfo, is_not_written_out_of_order) {
    zinfo_writer writer;
    EXPECT_EQ(writer.append({.compressed_offset = 10, .decoded_offset = 5}).error().kind, error_kind::usage);
    EXPECT_TRUE(writer.append({.compressed_offset = 10}));
    EXPECT_EQ(writer.append({.compressed_offset = 10}).error().kind, error_kind::usage);
    EXPECT_TRUE(writer.append({.compressed_offset = 20, .decoded_offset = 5, .bits = 3}));
    EXPECT_EQ(writer.append({.compressed_offset = 30, .decoded_offset = 4}).error().kind, error_kind::usage);
    const auto file = std::move(writer).finish();
    ASSERT_TRUE(file);
    EXPECT_EQ(file->size(), entry_at(2));
    EXPECT_EQ(zinfo_writer().finish().error().kind, error_kind::usage);
}

}  // namespace
}  // namespace nerofs::codec
