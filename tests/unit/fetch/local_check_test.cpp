#include "fetch/local_check.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "support/zstd_file.h"

namespace nerofs::fetch {
namespace {

using bytes = std::vector<std::byte>;

const std::string samples = NEROFS_TEST_DATA "/samples/";

bytes sample(const std::string& name) {
    return nerofs::test::read_zstd_file(samples + name + ".erofs.zst");
}

unique_fd file_of(const bytes& content) {
    unique_fd fd(::memfd_create("image", MFD_CLOEXEC));
    EXPECT_EQ(::write(fd.get(), content.data(), content.size()), static_cast<ssize_t>(content.size()));
    return fd;
}

result<image_info> check(const bytes& content, std::uint64_t offset = 0, bool has_extra_devices = false) {
    return check_local_image(file_of(content), offset, has_extra_devices);
}

std::string message(const bytes& content) {
    const auto info = check(content);
    return info ? "accepted" : info.error().message();
}

// A file of 8 KiB that has `text` at `offset` and bytes that look like nothing elsewhere.
bytes file_with(std::string_view text, std::size_t offset = 0) {
    bytes content(8192, std::byte{0x77});
    std::memcpy(content.data() + offset, text.data(), text.size());
    return content;
}

TEST(local_check, tells_what_the_device_must_look_like) {
    const bytes image = sample("lz4frag");
    const auto info = check(image);
    ASSERT_TRUE(info) << info.error().message();
    EXPECT_EQ(info->size_bytes, image.size());
    EXPECT_EQ(info->needed_bytes, image.size());
    EXPECT_EQ(info->block_size, 4096u);
    EXPECT_EQ(info->image_block_size, 4096u);
    EXPECT_EQ(info->uuid, "c1b9d5a2-f162-11cf-9ece-0020afc76f16");
    EXPECT_EQ(info->features, "sb_chksum, mtime, xattr_filter, 0padding, compr_cfgs, fragments, lz4");
    EXPECT_EQ(info->kernel_series, "6.1");
    EXPECT_EQ(info->kernel_feature, "fragments");
    EXPECT_EQ(info->build_time, 1600000000u);
    EXPECT_FALSE(info->flat_devices);
}

TEST(local_check, the_block_size_is_the_images_and_the_size_a_multiple_of_it) {
    bytes image = sample("plain512");
    image.resize(image.size() + 1000);
    auto info = check(image);
    ASSERT_TRUE(info) << info.error().message();
    EXPECT_EQ(info->block_size, 512u);
    EXPECT_EQ(info->needed_bytes, image.size() - 1000);
    EXPECT_EQ(info->size_bytes, image.size() - 1000 + 512);
    image = sample("plain");
    image.resize(image.size() + 4095);
    info = check(image);
    ASSERT_TRUE(info);
    EXPECT_EQ(info->size_bytes, image.size() - 4095);
}

TEST(local_check, an_image_may_start_at_an_offset) {
    const bytes image = sample("plain");
    bytes content = file_with("", 0);
    content.insert(content.end(), image.begin(), image.end());
    const auto info = check(content, 8192);
    ASSERT_TRUE(info) << info.error().message();
    EXPECT_EQ(info->size_bytes, image.size());
    EXPECT_EQ(check(content, 4096).error().message(), "at offset 4,096: not an EROFS image (no magic at byte 1024)");
    EXPECT_EQ(check(content, content.size()).error().message(),
              "offset 1,421,312 is beyond the end, the file has 1,421,312 bytes");
    EXPECT_EQ(check(content, ~0ULL).error().kind, error_kind::usage);
    content.pop_back();
    EXPECT_EQ(check(content, 8192).error().message(),
              "at offset 8,192: image is truncated: its superblock says 345 blocks of 4096 bytes (1,413,120 bytes), "
              "the file has "
              "1,413,119 bytes");
}

TEST(local_check, a_tarindex_alone_asks_for_its_tar) {
    const bytes index = nerofs::test::read_file(samples + "gnu.tarindex");
    EXPECT_EQ(message(index),
              "image is truncated: its device table says 2,898 blocks of 512 bytes (1,483,776 bytes), the file has "
              "11,264 bytes; "
              "it points into other data, which must lie right behind it or be given with -o device=PATH");
    const auto given = check(index, 0, true);
    ASSERT_TRUE(given);
    EXPECT_EQ(given->size_bytes, 11264u);
    bytes whole = index;
    whole.resize(1483776);
    const auto flat = check(whole);
    ASSERT_TRUE(flat) << flat.error().message();
    EXPECT_TRUE(flat->flat_devices);
    EXPECT_EQ(flat->needed_bytes, 1483776u);
}

TEST(local_check, what_is_not_an_image_is_recognised_and_answered_with_advice) {
    using namespace std::string_view_literals;
    const std::string no = "not an EROFS image (no magic at byte 1024)";
    const std::string unpack = "; decompress it first; nerofs mounts the image inside";
    EXPECT_EQ(message(file_with("\x1f\x8b\x08")), no + "; it looks like gzip data" + unpack);
    EXPECT_EQ(message(file_with("\x28\xb5\x2f\xfd")), no + "; it looks like zstd data" + unpack);
    EXPECT_EQ(message(file_with("\xfd"
                                "7zXZ\0"sv)),
              no + "; it looks like xz data" + unpack);
    EXPECT_EQ(message(file_with("ustar", 257)), no + "; it looks like a tar archive; a tar mounts by an index: "
                                                     "mkfs.erofs --tar=i makes one, the tar goes right behind it");
    EXPECT_EQ(message(file_with("hsqs")),
              no + "; it looks like a squashfs image; mkfs.erofs makes EROFS images from directories");
    EXPECT_EQ(message(file_with("\x53\xef", 1080)),
              no + "; it looks like an ext2, ext3 or ext4 file system; mkfs.erofs makes EROFS images from directories");
    EXPECT_EQ(message(file_with("QFI\xfb")),
              no + "; it looks like a qcow2 disk; convert it with: qemu-img convert -O raw IN OUT");
    EXPECT_EQ(message(file_with("\n<!DOCTYPE HTML>")),
              no + "; it looks like an HTML page; a download may have saved a server's error page in its place");
    EXPECT_EQ(message(bytes(8192)),
              no + "; it looks like nothing but zeros at the start; it may be a download that hasn't begun");
    EXPECT_EQ(message(file_with("")), no);
    EXPECT_EQ(message(nerofs::test::read_file(samples + "pax.tar.gz")), no + "; it looks like gzip data" + unpack);
    EXPECT_EQ(message(nerofs::test::read_file(samples + "lz4.erofs.zst")), no + "; it looks like zstd data" + unpack);
}

TEST(local_check, too_small_files_are_told_so) {
    EXPECT_EQ(message({}), "not an EROFS image (the file is empty)");
    bytes small = file_with("#!/bin/sh");
    small.resize(9);
    EXPECT_EQ(message(small), "not an EROFS image (the file has 9 bytes, the superblock alone ends at byte 1,152)");
    small = file_with("\x1f\x8b");
    small.resize(1151);
    EXPECT_EQ(message(small),
              "not an EROFS image (the file has 1,151 bytes, the superblock alone ends at byte 1,152); it looks like "
              "gzip data; "
              "decompress it first; nerofs mounts the image inside");
}

TEST(local_check, a_broken_image_is_not_taken_for_something_else) {
    bytes image = sample("plain");
    std::memcpy(image.data(), "hsqs", 4);  // bytes before the superblock are anybody's
    EXPECT_TRUE(check(image));
    image[1100] ^= std::byte{1};
    EXPECT_EQ(message(image).rfind("superblock is damaged: its checksum is 0x", 0), 0u) << message(image);
}

TEST(local_check, only_files_and_block_devices_hold_images) {
    const unique_fd directory(::open("/", O_RDONLY | O_CLOEXEC | O_DIRECTORY));
    EXPECT_EQ(check_local_image(directory, 0, false).error().message(),
              "is a directory, not an image; mkfs.erofs makes an image from a directory");
    const unique_fd null(::open("/dev/null", O_RDONLY | O_CLOEXEC));
    const auto r = check_local_image(null, 0, false);
    ASSERT_FALSE(r);
    EXPECT_EQ(r.error().kind, error_kind::usage);
    EXPECT_EQ(r.error().text, "is neither a regular file nor a block device");
    const unique_fd write_only(::open("/tmp", O_TMPFILE | O_WRONLY | O_CLOEXEC, 0600));
    if (write_only) {
        ASSERT_EQ(::ftruncate(write_only.get(), 8192), 0);
        EXPECT_EQ(check_local_image(write_only, 0, false).error().text, "read: Bad file descriptor");
    }
    EXPECT_EQ(check_local_image(fd_ref(-1), 0, false).error().text, "fstat: Bad file descriptor");
}

TEST(local_check, all_samples_pass) {
    for (const std::string name : {"plain", "plain512", "chunk", "legacy", "lz4", "lz4hc64k", "lz4tail", "lz4dedupe",
                                   "lz4frag", "deflate", "zstd", "lzma", "metabox"}) {
        const auto info = check(sample(name));
        EXPECT_TRUE(info) << name << ": " << info.error().message();
    }
}

}  // namespace
}  // namespace nerofs::fetch
