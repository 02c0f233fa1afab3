#include "erofs/superblock.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "codec/crc32c.h"
#include "erofs/ondisk.h"
#include "image.h"

namespace nerofs::erofs {
namespace {

using test::bytes;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::StartsWith;

result<superblock_info> check(const bytes& image, bool has_extra_devices = false) {
    return check_superblock(image, image.size(), has_extra_devices);
}

// Changes one field of the superblock and, as a liar with a program would, makes the checksum right again.
template <class Change>
bytes changed(bytes image, Change change) {
    ondisk::superblock raw = *ondisk::load<ondisk::superblock>(image, 1024);
    change(raw);
    raw.checksum = 0;
    std::memcpy(image.data() + 1024, &raw, sizeof raw);
    const std::size_t block = raw.block_bits <= 16 ? std::size_t{1} << raw.block_bits : 0;
    const std::size_t end = std::min(image.size(), block > 1024 ? block : 1024 + block);
    raw.checksum = ~codec::crc32c(std::span(image).subspan(1024, end - 1024));
    std::memcpy(image.data() + 1024, &raw, sizeof raw);
    return image;
}

template <class Change>
error refused(const bytes& image, Change change, bool has_extra_devices = false) {
    const auto r = check(changed(image, change), has_extra_devices);
    if (r) {
        ADD_FAILURE() << "was accepted";
        return make_error(error_kind::permanent, "accepted");
    }
    return r.error();
}

TEST(superblock, all_samples_are_accepted_and_need_exactly_their_size) {
    const auto names = test::sample_names();
    EXPECT_GE(names.size(), 12u);
    for (const std::string& name : names) {
        SCOPED_TRACE(name);
        const bytes image = test::sample(name);
        const auto info = check(image);
        ASSERT_TRUE(info) << info.error().message();
        EXPECT_EQ(info->needed_bytes, image.size());
        EXPECT_EQ(info->block_size(), name == "plain512" ? 512u : 4096u);
        EXPECT_EQ(info->uuid_text(), "c1b9d5a2-f162-11cf-9ece-0020afc76f16");
        EXPECT_EQ(info->build_time, 1600000000);
        EXPECT_EQ(info->volume_name, "");
        EXPECT_GE(info->inodes, 103u);
        EXPECT_FALSE(info->flat_devices);
        test::memory_reader reader(image);
        const auto read = read_superblock(reader, image.size(), false);
        ASSERT_TRUE(read) << read.error().message();
        EXPECT_EQ(read->needed_bytes, info->needed_bytes);
        EXPECT_EQ(reader.read_bytes(), name == "plain512" ? 1536u : 4096u);
    }
}

TEST(superblock, features_and_the_kernel_they_take_are_named) {
    const auto names = [](const std::string& name) { return check(test::sample(name))->feature_names(); };
    const auto kernel = [](const std::string& name) {
        const auto need = check(test::sample(name))->first_kernel();
        return need.series() + " " + std::string(need.feature);
    };
    EXPECT_THAT(names("plain"), ElementsAre("sb_chksum", "mtime", "xattr_filter"));
    EXPECT_EQ(kernel("plain"), "5.4 EROFS");
    EXPECT_EQ(kernel("plain512"), "6.4 blocks smaller than a page");
    EXPECT_THAT(names("chunk"), ElementsAre("sb_chksum", "mtime", "xattr_filter", "chunked_file"));
    EXPECT_EQ(kernel("chunk"), "5.15 chunked_file");
    EXPECT_THAT(names("lz4"), ElementsAre("sb_chksum", "mtime", "xattr_filter", "0padding", "lz4"));
    EXPECT_EQ(kernel("lz4"), "5.4 EROFS");
    EXPECT_EQ(kernel("lz4hc64k"), "5.13 compr_cfgs");
    EXPECT_EQ(kernel("lz4tail"), "5.17 ztailpacking");
    EXPECT_THAT(names("lz4dedupe"), testing::Contains("dedupe"));
    EXPECT_EQ(kernel("lz4dedupe"), "6.1 dedupe");
    EXPECT_EQ(kernel("lz4frag"), "6.1 fragments");
    EXPECT_EQ(kernel("lzma"), "5.16 lzma");
    EXPECT_EQ(kernel("deflate"), "6.6 deflate");
    EXPECT_THAT(names("zstd"), ElementsAre("sb_chksum", "mtime", "xattr_filter", "0padding", "compr_cfgs", "zstd"));
    EXPECT_EQ(kernel("zstd"), "6.10 zstd");
    EXPECT_THAT(names("metabox"),
                ElementsAre("sb_chksum", "mtime", "xattr_filter", "0padding", "48bit", "metabox", "lz4"));
    EXPECT_EQ(kernel("metabox"), "6.17 metabox");
}

TEST(superblock, a_tarindex_needs_its_tar_behind_it_unless_it_is_given_as_a_device) {
    for (const std::string name : {"pax", "gnu"}) {
        SCOPED_TRACE(name);
        const bytes index = test::tarindex(name);
        const bytes whole = test::tarindex_with_tar(name);
        const auto flat = check(whole);
        ASSERT_TRUE(flat) << flat.error().message();
        EXPECT_TRUE(flat->flat_devices);
        ASSERT_EQ(flat->devices.size(), 1u);
        EXPECT_EQ(flat->devices[0].uniaddr, flat->primary_blocks);
        EXPECT_EQ(flat->primary_blocks * 512, index.size());
        EXPECT_EQ(flat->needed_bytes, index.size() + flat->devices[0].blocks * 512);
        EXPECT_LE(flat->needed_bytes, whole.size());
        EXPECT_THAT(flat->feature_names(), testing::Contains("device_table"));
        EXPECT_EQ(flat->first_kernel().series(), "6.4");

        const auto given = check(index, true);
        ASSERT_TRUE(given) << given.error().message();
        EXPECT_FALSE(given->flat_devices);
        EXPECT_EQ(given->needed_bytes, index.size());

        const auto alone = check(index);
        ASSERT_FALSE(alone);
        EXPECT_EQ(alone.error().kind, error_kind::corrupt);
        EXPECT_EQ(alone.error().hint,
                  "it points into other data, which must lie right behind it or be given with -o device=PATH");
    }
    EXPECT_EQ(check(test::tarindex("gnu")).error().text,
              "image is truncated: its device table says 2,898 blocks of 512 bytes (1,483,776 bytes), the file has "
              "11,264 bytes");
}

TEST(superblock, a_truncated_image_says_what_is_missing) {
    bytes image = test::sample("plain");
    image.resize(1048576);
    const auto r = check(image);
    ASSERT_FALSE(r);
    EXPECT_EQ(r.error().kind, error_kind::corrupt);
    EXPECT_EQ(r.error().text,
              "image is truncated: its superblock says 345 blocks of 4096 bytes (1,413,120 bytes), the file has "
              "1,048,576 bytes");
    image.resize(2000);
    EXPECT_EQ(check(image).error().text,
              "image is truncated: its first block ends at byte 4,096, the file has 2,000 bytes");
    image.resize(1151);
    EXPECT_EQ(check(image).error().text,
              "not an EROFS image (the file has 1,151 bytes, the superblock alone ends at byte 1,152)");
    EXPECT_EQ(check({}).error().text, "not an EROFS image (the file is empty)");
    EXPECT_EQ(check(bytes(4096)).error().text, "not an EROFS image (no magic at byte 1024)");
    EXPECT_EQ(check(bytes(4096)).error().kind, error_kind::corrupt);
}

TEST(superblock, every_length_of_an_image_is_refused_or_whole) {
    const bytes image = test::sample("metabox");
    for (std::size_t size = 0; size < image.size(); size += size < 5000 ? 1 : 4099) {
        const auto r = check_superblock(std::span(image).first(size), size, false);
        ASSERT_FALSE(r) << size;
        EXPECT_EQ(r.error().kind, error_kind::corrupt) << size << ": " << r.error().text;
    }
}

TEST(superblock, too_few_bytes_from_the_caller_are_the_callers_fault) {
    const bytes image = test::sample("plain");
    const auto r = check_superblock(std::span(image).first(4095), image.size(), false);
    ASSERT_FALSE(r);
    EXPECT_EQ(r.error().kind, error_kind::usage);
    EXPECT_EQ(r.error().text, "the superblock can't be checked with the first 4,095 bytes, it takes 4,096");
    EXPECT_EQ(superblock_wants({}), 1152u);
    EXPECT_EQ(superblock_wants(std::span(image).first(1152)), 4096u);
    EXPECT_EQ(superblock_wants(bytes(4096)), 1152u);
}

TEST(superblock, a_flipped_bit_anywhere_under_the_checksum_is_found) {
    for (const std::string name : {"plain", "plain512"}) {
        const bytes image = test::sample(name);
        const std::size_t end = name == "plain" ? 4096 : 1536;
        for (std::size_t at = 1024; at < end; ++at) {
            bytes bad = image;
            bad[at] ^= std::byte{0x10};
            const auto r = check(bad);
            ASSERT_FALSE(r) << name << " " << at;
        }
        bytes bad = image;
        bad[end - 1] ^= std::byte{1};
        EXPECT_THAT(check(bad).error().text, StartsWith("superblock is damaged: its checksum is 0x"));
        EXPECT_EQ(check(bad).error().kind, error_kind::corrupt);
        bad = image;
        bad[end] ^= std::byte{1};
        EXPECT_TRUE(check(bad));
    }
}

TEST(superblock, unknown_features_are_named_by_their_bits) {
    const bytes image = test::sample("plain");
    error e = refused(image, [](auto& raw) { raw.feature_incompat = 0x800; });
    EXPECT_EQ(e.kind, error_kind::unsupported);
    EXPECT_EQ(e.text, "needs EROFS feature 0x800 that nerofs doesn't know");
    EXPECT_EQ(e.hint, "a newer nerofs may");
    e = refused(image, [](auto& raw) { raw.feature_incompat = 0x80000a01; });
    EXPECT_EQ(e.text, "needs EROFS features 0x80000a00 that nerofs doesn't know");
    e = refused(image, [](auto& raw) { raw.feature_incompat = 2, raw.algorithms = 0x11; });
    EXPECT_EQ(e.kind, error_kind::unsupported);
    EXPECT_EQ(e.text, "needs EROFS compression algorithms 0x10 that nerofs doesn't know");
    EXPECT_TRUE(check(changed(image, [](auto& raw) { raw.feature_compat = 0xffffffff; })));
}

TEST(superblock, lies_in_single_fields_are_refused) {
    const bytes image = test::sample("plain");
    const auto text = [&](auto change) { return refused(image, change).text; };
    EXPECT_EQ(text([](auto& raw) { raw.block_bits = 8; }),
              "superblock is damaged: block size 2^8 isn't between 2^9 and 2^16");
    EXPECT_EQ(text([](auto& raw) { raw.block_bits = 17; }),
              "superblock is damaged: block size 2^17 isn't between 2^9 and 2^16");
    EXPECT_EQ(text([](auto& raw) { raw.block_bits = 255; }),
              "superblock is damaged: block size 2^255 isn't between 2^9 and 2^16");
    EXPECT_EQ(text([](auto& raw) { raw.dir_block_bits = 1; }),
              "directory blocks of 2^1 blocks aren't supported by any kernel");
    EXPECT_EQ(text([](auto& raw) { raw.extension_slots = 255; }),
              "superblock is damaged: it claims to be 4,208 bytes, 3,072 are possible");
    EXPECT_EQ(text([](auto& raw) { raw.blocks_lo = 0; }),
              "superblock is damaged: it says 0 blocks of 4096 bytes, less than it takes itself");
    EXPECT_EQ(text([](auto& raw) { raw.blocks_lo = 0xffffffff; }),
              "image is truncated: its superblock says 4,294,967,295 blocks of 4096 bytes (17,592,186,040,320 bytes), "
              "the file "
              "has 1,413,120 bytes");
    EXPECT_EQ(text([](auto& raw) { raw.root_nid_or_blocks_hi = 0xffff, raw.meta_block = 344; }),
              "superblock is damaged: the root inode (nid 65535) lies beyond the image's 1,413,120 bytes");
    EXPECT_EQ(text([](auto& raw) { raw.meta_block = 0xffffffff; }),
              "superblock is damaged: the root inode (nid 37) lies beyond the image's 1,413,120 bytes");
    EXPECT_EQ(
        text([](auto& raw) { raw.feature_incompat = 0x20, raw.packed_nid = 0x0800000000000000; }),
        "superblock is damaged: the packed inode (nid 576460752303423488) lies beyond the image's 1,413,120 bytes");
    EXPECT_EQ(text([](auto& raw) { raw.feature_incompat = 0x80, raw.root_nid_8 = 1ULL << 63; }),
              "image is truncated: its superblock says 158,913,790,297 blocks of 4096 bytes (650,910,885,056,512 "
              "bytes), the file "
              "has 1,413,120 bytes");
    EXPECT_EQ(text([](auto& raw) {
                  raw.feature_incompat = 0x80, raw.root_nid_8 = 1ULL << 63, raw.root_nid_or_blocks_hi = 0;
              }),
              "superblock is damaged: the root inode claims to lie in a metabox, there is none");
    EXPECT_EQ(text([](auto& raw) {
                  raw.feature_incompat = 0x80, raw.root_nid_8 = 37, raw.root_nid_or_blocks_hi = 0xffff;
                  raw.block_bits = 16;
              }),
              "superblock is damaged: 281,470,681,743,705 blocks of 65536 bytes are more than a device can have");
    EXPECT_EQ(text([](auto& raw) { raw.feature_incompat = 0x100; }),
              "superblock is damaged: it has a metabox, but no room for its inode's number");
}

TEST(superblock, a_metabox_may_not_lie_in_itself_or_outside) {
    bytes image = test::sample("metabox");
    const auto refuse_nid = [&](std::uint64_t value) {
        const le64 nid = value;
        std::memcpy(image.data() + 1024 + 128, &nid, sizeof nid);
        return refused(image, [](auto&) {}).text;
    };
    EXPECT_EQ(refuse_nid((1ULL << 63) | 5), "superblock is damaged: the metabox inode claims to lie in itself");
    EXPECT_THAT(refuse_nid(1ULL << 60),
                HasSubstr("the metabox inode (nid 1152921504606846976) lies beyond the image's 552,960 bytes"));
}

TEST(superblock, a_device_table_is_bounded_and_its_numbers_add_up) {
    const bytes image = test::tarindex_with_tar("pax");
    error e = refused(image, [](auto& raw) { raw.extra_devices = 65535; });
    EXPECT_EQ(e.kind, error_kind::unsupported);
    EXPECT_EQ(e.text, "the image has 65,535 extra devices, nerofs takes at most 4,096");
    e = refused(image, [](auto& raw) { raw.device_table_slot = 65535, raw.extra_devices = 4096; });
    EXPECT_EQ(e.kind, error_kind::corrupt);
    EXPECT_EQ(e.text, "image is truncated: its device table ends at byte 8,912,768, the file has 1,579,008 bytes");
    bytes two = image;
    std::fill_n(two.begin() + 10 * 128, 128, std::byte{});
    e = refused(two, [](auto& raw) { raw.extra_devices = 2; });
    EXPECT_EQ(e.kind, error_kind::usage);
    EXPECT_EQ(e.text, "the image keeps file data on 2 extra devices, and none was given");
    EXPECT_EQ(e.hint, "name each with -o device=PATH, in their order");
    EXPECT_TRUE(check(changed(image, [](auto& raw) { raw.extra_devices = 0; })));

    const auto with_slot = [&](std::uint64_t uniaddr, std::uint64_t blocks, std::uint32_t incompat) {
        bytes bad = image;
        ondisk::device_slot slot = *ondisk::load<ondisk::device_slot>(bad, 9 * 128);
        slot.uniaddr_lo = static_cast<std::uint32_t>(uniaddr);
        slot.uniaddr_hi = static_cast<std::uint16_t>(uniaddr >> 32);
        slot.blocks_lo = static_cast<std::uint32_t>(blocks);
        slot.blocks_hi = static_cast<std::uint16_t>(blocks >> 32);
        std::memcpy(bad.data() + 9 * 128, &slot, sizeof slot);
        return refused(bad, [&](auto& raw) { raw.feature_incompat = incompat; }).text;
    };
    EXPECT_THAT(with_slot(0xffffffff, 0xffffffff, 8),
                HasSubstr("its device table says 8,589,934,590 blocks of 512 bytes"));
    EXPECT_THAT(with_slot(0xffffffffffff, 0xffffffffffff, 0x88), HasSubstr("562,949,953,421,310 blocks"));
    EXPECT_THAT(with_slot(0xffffffff0016, 3054, 8),
                HasSubstr("its device table says 4,294,904,836 blocks"));  // no 48BIT
}

TEST(superblock, images_of_the_installed_mkfs_are_accepted) {
    if (!test::have_mkfs()) GTEST_SKIP() << "mkfs.erofs isn't installed";
    const test::scratch_directory tree;
    test::run("head -c 100000 /dev/urandom > '" + tree.path() + "/a' && seq 20000 > '" + tree.path() + "/b'");
    for (const std::string options : {"", "-zlz4", "-zlz4hc,9 -C65536", "--chunksize=4096", "-Elegacy-compress -zlz4",
                                      "-Eforce-inode-compact -T1", "-Enosbcrc", "-Enoinline_data"}) {
        SCOPED_TRACE(options);
        const bytes image = test::mkfs(tree.path(), options + " -U 00112233-4455-6677-8899-aabbccddeeff");
        const auto info = check(image);
        ASSERT_TRUE(info) << info.error().message();
        EXPECT_EQ(info->needed_bytes, image.size());
        EXPECT_EQ(info->uuid_text(), "00112233-4455-6677-8899-aabbccddeeff");
        EXPECT_EQ((info->feature_compat & ondisk::compat_checksum) == 0, options == "-Enosbcrc");
    }
}

TEST(superblock, an_image_whose_data_lies_on_a_device_that_nobody_gave_is_not_served_from_the_wrong_place) {
    if (!test::have_mkfs()) GTEST_SKIP() << "mkfs.erofs isn't installed";
    const test::scratch_directory tree;
    test::run("head -c 100000 /dev/urandom > '" + tree.path() + "/a'");
    const test::scratch_directory blob;
    const bytes image = test::mkfs(tree.path(), "--chunksize=4096 --blobdev='" + blob.path() + "/blob'");
    const auto r = check(image);
    ASSERT_FALSE(r);
    EXPECT_EQ(r.error().kind, error_kind::usage);
    EXPECT_EQ(r.error().text, "the image keeps file data on 1 extra device, and none was given");
    EXPECT_TRUE(check(image, true));
}

TEST(superblock, devices_given_to_an_image_without_any_are_refused_as_the_kernel_would) {
    const auto r = check(test::sample("plain"), true);
    ASSERT_FALSE(r);
    EXPECT_EQ(r.error().kind, error_kind::usage);
    EXPECT_EQ(r.error().text, "extra devices were given, but the image has none");
}

TEST(superblock, numbers_are_grouped_by_thousands) {
    EXPECT_EQ(with_commas(0), "0");
    EXPECT_EQ(with_commas(999), "999");
    EXPECT_EQ(with_commas(1000), "1,000");
    EXPECT_EQ(with_commas(123456), "123,456");
    EXPECT_EQ(with_commas(~0ULL), "18,446,744,073,709,551,615");
}

}  // namespace
}  // namespace nerofs::erofs
