// Layers as gzip, pigz and zstd write them, on their first way through.
#include "layer/ingest.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>

#include "codec/gzip_index.h"
#include "codec/hex.h"
#include "codec/stream_decoder.h"
#include "erofs/reader.h"
#include "erofs/tree.h"
#include "image.h"
#include "layer/marked_tree.h"
#include "support/layer_samples.h"

namespace nerofs::layer {
namespace {

using namespace test;
using nerofs::test::filtered;
using nerofs::test::sample_tar;
using bytes = std::vector<std::byte>;

struct ingested {
    result<layer_index> index;
    bytes content;
};

ingested ingest(std::span<const std::byte> stored, ingest_options options = {}, std::size_t piece = 100'000) {
    ingested out{fail(error_kind::usage, ""), {}};
    options.content = [&](std::span<const std::byte> content) -> status {
        out.content.insert(out.content.end(), content.begin(), content.end());
        return {};
    };
    layer_ingest pass(std::move(options));
    for (std::size_t at = 0; at < stored.size(); at += piece) {
        const auto pushed = pass.push(stored.subspan(at, std::min(piece, stored.size() - at)));
        if (!pushed) {
            out.index = fail(pushed.error());
            return out;
        }
    }
    out.index = pass.finish();
    return out;
}

std::string sha256sum(std::span<const std::byte> of) {
    const bytes line = filtered("sha256sum", of);
    return {reinterpret_cast<const char*>(line.data()), 64};
}

// What the index says of a layer is true of it; from each checkpoint on, the content can be decoded.
void expect_right(std::span<const std::byte> stored, compression how, const ingested& got) {
    ASSERT_TRUE(got.index) << got.index.error().message();
    const layer_index& index = *got.index;
    const bytes& tar = sample_tar();
    EXPECT_EQ(index.how, how);
    EXPECT_TRUE(got.content == tar);
    EXPECT_EQ(index.stored_bytes, stored.size());
    EXPECT_EQ(index.content_bytes, tar.size());
    EXPECT_EQ(codec::to_hex(index.stored_digest), sha256sum(stored));
    EXPECT_EQ(codec::to_hex(index.content_digest), sha256sum(tar));
    ASSERT_EQ(index.units.size(), index.unit_count());
    for (std::size_t i = 0; i < index.units.size(); ++i) {
        const std::size_t begin = i * index.unit_bytes;
        const auto unit = std::span(tar).subspan(begin, std::min<std::size_t>(index.unit_bytes, tar.size() - begin));
        EXPECT_TRUE(index.units[i] == codec::sha256::of(unit)) << i;
    }
    for (const checkpoint& from : index.checkpoints) {
        const auto window = unpack_window(from.window).value();
        const auto decoder = how == compression::zstd
                                 ? codec::decode_zstd()
                                 : std::move(codec::decode_gzip_from({.compressed_offset = from.stored_offset,
                                                                      .decoded_offset = from.content_offset,
                                                                      .bits = from.bits,
                                                                      .window = window})
                                                 .value());
        const auto behind = std::span(tar).subspan(from.content_offset);
        const auto expected = behind.first(std::min<std::size_t>(behind.size(), 400'000));
        bytes out(expected.size());
        const auto made = decoder->decode(stored.subspan(from.first_byte()), out);
        ASSERT_TRUE(made) << made.error().message();
        EXPECT_EQ(made->made, out.size());
        EXPECT_TRUE(std::equal(out.begin(), out.end(), expected.begin())) << from.content_offset;
    }
    const auto file = index.encode();
    ASSERT_TRUE(file) << file.error().message();
    EXPECT_TRUE(layer_index::parse(*file));
    EXPECT_LT(file->size(), tar.size() * 15 / 1000);
}

TEST(ingest, of_a_plain_tar_whatever_the_pieces_and_threads) {
    for (const unsigned threads : {0U, 1U, 2U})
        expect_right(sample_tar(), compression::plain, ingest(sample_tar(), {.hash_threads = threads}));
    const auto in_bytes = ingest(std::span(sample_tar()), {}, 3);
    expect_right(sample_tar(), compression::plain, in_bytes);
    EXPECT_TRUE(in_bytes.index->checkpoints.empty());
}

TEST(ingest, of_gzip_at_every_level_and_of_several_members) {
    for (const std::string tool : {"gzip -n -1", "gzip -n -6", "gzip -n -9", "gzip -n --rsyncable"}) {
        const bytes stored = filtered(tool, sample_tar());
        const auto got = ingest(stored);
        expect_right(stored, compression::gzip, got);
        ASSERT_TRUE(got.index);
        EXPECT_GE(got.index->checkpoints.size(), 3U);
    }
    const auto tar = std::span(sample_tar());
    bytes members = filtered("gzip -n", tar.first(1'000'000));
    for (const auto part : {tar.subspan(1'000'000, 10), tar.subspan(1'000'010)}) {
        const bytes member = filtered("gzip -n -1", part);
        members.insert(members.end(), member.begin(), member.end());
    }
    expect_right(members, compression::gzip, ingest(members));
    members.resize(members.size() + 700);  // padding, as tapes have it
    expect_right(members, compression::gzip, ingest(members, {}, 7));
}

TEST(ingest, of_gzip_by_pigz) {
    if (!nerofs::test::has_command("pigz")) GTEST_SKIP() << "pigz isn't installed";
    for (const std::string tool : {"pigz -n", "pigz -n -i", "pigz -n -0"}) {
        const bytes stored = filtered(tool, sample_tar());
        expect_right(stored, compression::gzip, ingest(stored));
    }
}

// Of the blocks that a pass of its own finds, the last one that doesn't begin behind a unit, or one close before it.
TEST(ingest, a_checkpoint_of_gzip_lies_shortly_before_each_unit) {
    const bytes stored = filtered("gzip -n -6", sample_tar());
    std::vector<std::uint64_t> blocks;
    codec::gzip_indexer every({.max_decoded_bytes = sample_tar().size(), .span_bytes = 0},
                              {.decoded = {}, .checkpoint = [&](const codec::gzip_checkpoint& at) -> status {
                                   blocks.push_back(at.decoded_offset);
                                   return {};
                               }});
    ASSERT_TRUE(every.push(stored));
    const layer_index index = ingest(stored).index.value();
    for (std::uint64_t unit = 0; unit < index.content_bytes; unit += index.unit_bytes) {
        const std::uint64_t last = *(std::upper_bound(blocks.begin(), blocks.end(), unit) - 1);
        const std::uint64_t begin = index.checkpoints[index.checkpoint_before(unit)].content_offset;
        EXPECT_TRUE(std::binary_search(blocks.begin(), blocks.end(), begin)) << begin;
        EXPECT_LE(last - begin, 32U << 10) << unit;
    }
}

TEST(ingest, of_zstd_in_one_frame_and_in_many) {
    const bytes one = filtered("zstd -q", sample_tar());
    const auto whole = ingest(one);
    expect_right(one, compression::zstd, whole);
    ASSERT_TRUE(whole.index);
    EXPECT_EQ(whole.index->checkpoints.size(), 1U);
    const bytes many = nerofs::test::zstd_frames(sample_tar(), 300'000);
    const auto parts = ingest(many);
    expect_right(many, compression::zstd, parts);
    ASSERT_TRUE(parts.index);
    const layer_index& index = *parts.index;
    for (std::uint64_t at = 0; at < index.content_bytes; at += index.unit_bytes)
        EXPECT_EQ(index.checkpoints[index.checkpoint_before(at)].content_offset, at / 300'000 * 300'000);
    EXPECT_LE(index.checkpoints.size(), index.unit_count() + 1);
}

// ---- the tree

struct seen {
    std::map<std::string, std::string> what;  // by path: its type and the attributes of trusted.*
    std::string tar_bytes;
};

std::map<std::string, std::string> tree_of(const layer_index& index) {
    std::vector<std::byte> device = index.tarindex;
    device.resize(device.size() + index.content_bytes);
    erofs::memory_reader image(device);
    auto reader = erofs::reader::open(image, image.size()).value();
    std::map<std::string, std::string> out;
    const auto walked = erofs::walk(reader, [&](std::string_view path, const erofs::inode& inode) -> status {
        std::string& line = out[std::string(path)];
        if (inode.type == erofs::file_type::directory) line = "directory";
        if (inode.type == erofs::file_type::regular) line = "file";
        if (inode.type == erofs::file_type::character)
            line = "character " + std::to_string(inode.device_major) + "," + std::to_string(inode.device_minor);
        const auto attributes = reader.xattrs(inode);
        for (const auto& a : attributes.value()) line += " " + a.name + "=" + a.value;
        return {};
    });
    EXPECT_TRUE(walked) << walked.error().message();
    return out;
}

TEST(ingest, keeps_what_a_merge_of_layers_has_to_know) {
    const std::string tar = header("told/", '5').sealed() + header("told/.wh.gone").sealed() +
                            header("opaque/", '5').sealed() + header("opaque/.wh..wh..opq").sealed() +
                            header("implied/deep/file").sealed() + header("implied/both/.wh..wh..opq").sealed() +
                            header("told/link", '1', 0, "below/target").sealed() +
                            header("inside", '1', 0, "implied/deep/file").sealed() + end_mark;
    const auto got = ingest(bytes_of(tar));
    ASSERT_TRUE(got.index) << got.index.error().message();
    const auto again = layer_index::parse(got.index->encode().value()).value();
    const std::string opaque = " trusted.overlay.opaque=y";
    const std::string implied = " trusted.nerofs.implied=y";
    const std::map<std::string, std::string> expected = {{"", "directory" + implied},
                                                         {"told", "directory"},
                                                         {"told/gone", "character 0,0"},
                                                         {"opaque", "directory" + opaque},
                                                         {"implied", "directory" + implied},
                                                         {"implied/deep", "directory" + implied},
                                                         {"implied/deep/file", "file"},
                                                         {"implied/both", "directory" + implied + opaque},
                                                         {"inside", "file"}};
    EXPECT_EQ(tree_of(again), expected);
    ASSERT_EQ(again.unresolved.size(), 1U);
    EXPECT_EQ(again.unresolved[0].path, "told/link");
    EXPECT_EQ(again.unresolved[0].target, "below/target");
}

TEST(ingest, does_not_let_a_layer_say_that_its_directories_are_implied) {
    const std::string tar =
        pax(record("SCHILY.xattr.trusted.nerofs.implied", "y") + record("SCHILY.xattr.user.a", "b")) +
        header("told/", '5').sealed() + end_mark;
    const auto got = ingest(bytes_of(tar));
    ASSERT_TRUE(got.index) << got.index.error().message();
    EXPECT_EQ(tree_of(*got.index)["told"], "directory user.a=b");
}

// ---- what goes wrong

TEST(ingest, says_what_is_wrong_with_a_layer_in_one_line) {
    const bytes stored = filtered("gzip -n", sample_tar());
    const auto said = [](const ingested& got) { return got.index ? "taken" : got.index.error().message(); };
    const auto expect_digest = codec::sha256::of(stored);
    const std::string name = "layer sha256:" + codec::to_hex(expect_digest).substr(0, 12) + "..: ";

    EXPECT_EQ(said(ingest(stored, {.stored_digest = expect_digest})), "taken");
    EXPECT_EQ(said(ingest(std::span(stored).first(50'000), {.stored_digest = expect_digest})),
              name + "gzip stream: it ends in the middle (near byte 50000)");
    EXPECT_EQ(said(ingest(stored, {.stored_digest = expect_digest, .content_digest = expect_digest})),
              name + "the digest of its content is sha256:" + sha256sum(sample_tar()) +
                  " instead of sha256:" + codec::to_hex(expect_digest));
    EXPECT_EQ(said(ingest(stored, {.stored_digest = codec::sha256_digest{}})),
              "layer sha256:000000000000..: its digest is sha256:" + sha256sum(stored));
    EXPECT_EQ(said(ingest(stored, {.most_content_bytes = 100'000})),
              "layer: gzip stream: decodes to more than 100000 bytes");
    EXPECT_EQ(said(ingest(sample_tar(), {.most_content_bytes = 100'000})), "layer: has more than 100000 bytes");
    EXPECT_EQ(said(ingest(filtered("zstd -q", sample_tar()), {.most_content_bytes = 100'000})),
              "layer: zstd stream: decodes to more than 100000 bytes");
    EXPECT_EQ(said(ingest({})), "layer: not a tar archive: it is empty");
    EXPECT_EQ(said(ingest(bytes(3))), "layer: the tar archive is cut off after 3 bytes");
    EXPECT_EQ(said(ingest(bytes(2000, std::byte{7}))), "layer: tar header at 0: not a tar archive");
    EXPECT_EQ(said(ingest(sample_tar(), {.how = compression::zstd})),
              "layer: zstd stream: it isn't zstd (near byte 0)");
}

TEST(ingest, ends_with_the_error_of_who_takes_the_content) {
    layer_ingest pass({.content = [](std::span<const std::byte>) { return fail(error_kind::permanent, "no room"); }});
    const auto pushed = pass.push(sample_tar());
    ASSERT_FALSE(pushed);
    EXPECT_EQ(pushed.error().message(), "layer: no room");
}

}  // namespace
}  // namespace nerofs::layer
