// Layouts and lies that no tool at hand writes, as images made byte by byte.
#include "erofs/reader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cerrno>
#include <string>

#include "builder.h"
#include "erofs/tree.h"
#include "image.h"

namespace nerofs::erofs {
namespace {

using ondisk::data_layout;
using test::builder;
using testing::ElementsAre;

constexpr std::uint16_t regular = 0100644;

std::string bytes_of(const auto& what) {
    return {reinterpret_cast<const char*>(&what), sizeof what};
}

// The opened image, and what it reads from.
struct opened {
    explicit opened(test::bytes content, std::vector<byte_reader*> devices = {})
        : bytes(std::move(content)), image(reader::open(bytes, bytes.size(), std::move(devices))) {
        EXPECT_TRUE(image) << image.error().message();
    }
    reader* operator->() { return &*image; }

    result<std::string> data(std::uint64_t nid) {
        NEROFS_TRY(const inode file, image->read_inode(nid));
        std::string out(file.size, '?');
        NEROFS_TRY(const std::size_t got, image->read(file, 0, std::as_writable_bytes(std::span(out))));
        out.resize(got);
        return out;
    }
    error data_error(std::uint64_t nid) {
        auto r = data(nid);
        if (r) ADD_FAILURE() << "was read";
        return r ? error{} : std::move(r).error();
    }

    test::memory_reader bytes;
    result<reader> image;
};

TEST(reader, holes_are_zeros_in_every_layout) {
    builder b;
    b.directory_inode(0, {});
    b.inode(8, builder::extended(regular, data_layout::flat_plain, 3000, 0xffffffff));
    auto wide_null = builder::extended(regular, data_layout::flat_plain, 3000, 0xffffffff);
    wide_null.high = 0xffff;
    b.inode(10, wide_null);
    ondisk::inode_compact compact{};
    compact.format = 0;
    compact.mode = regular;
    compact.nlink_or_high = 7;
    compact.size = 2000;
    compact.u = 0xffffffff;
    b.put_struct(b.nid_offset(12), compact);
    b.inode(14, builder::extended(regular, data_layout::chunk_based, 1500, 0),
            bytes_of(le32(0xffffffff)) + bytes_of(le32(20)) + bytes_of(le32(0xffffffff)));
    b.put(20 * 512, std::string(512, 'x'));
    opened image(b.image());
    // An extended inode has 48 bits of address, so 32 set bits alone are a block, and it isn't there.
    EXPECT_EQ(image.data_error(8).text, "inode 8: its data in block 4,294,967,295 lies beyond the end of its device");
    EXPECT_EQ(image.data(10), std::string(3000, '\0'));
    EXPECT_EQ(image.data(12), std::string(2000, '\0'));
    EXPECT_EQ(image->read_inode(12)->links, 7u);
    EXPECT_EQ(image.data(14), std::string(512, '\0') + std::string(512, 'x') + std::string(476, '\0'));
}

TEST(reader, compact_inodes_may_have_one_link_and_48_bits_instead_of_a_count) {
    builder b;
    b.directory_inode(0, {});
    ondisk::inode_compact compact{};
    compact.format = ondisk::format_nlink_1;
    compact.mode = regular;
    compact.nlink_or_high = 0;
    compact.size = 4;
    compact.mtime = 10;
    compact.u = 20;
    b.put_struct(b.nid_offset(8), compact);
    compact.nlink_or_high = 1;  // block 20 + 2^32
    b.put_struct(b.nid_offset(9), compact);
    b.put(20 * 512, "data");
    b.super.epoch = 1000;
    b.super.fixed_nsec = 5;
    opened image(b.image());
    EXPECT_EQ(image->read_inode(8)->links, 1u);
    EXPECT_EQ(image->read_inode(8)->mtime, (timestamp{1010, 5}));
    EXPECT_EQ(image.data(8), "data");
    EXPECT_EQ(image.data_error(9).text, "inode 9: its data in block 4,294,967,316 lies beyond the end of its device");
}

TEST(reader, inline_tails_follow_the_blocks_and_stay_within_one_block) {
    builder b;
    b.directory_inode(0, {});
    b.inode(8, builder::extended(regular, data_layout::flat_inline, 515, 20), "end");
    b.put(20 * 512, std::string(512, 'a'));
    b.inode(14, builder::extended(regular, data_layout::flat_inline, 2, 0),
            "xy");  // right behind an inode at a block's end
    b.inode(18, builder::extended(regular, data_layout::flat_inline, 384, 0), std::string(384, 'z'));
    b.inode(32, builder::extended(regular, data_layout::flat_inline, 449, 0));
    opened image(b.image());
    EXPECT_EQ(image.data(8), std::string(512, 'a') + "end");
    EXPECT_EQ(image.data(14), "xy");
    EXPECT_EQ(image.data(18), std::string(384, 'z'));
    EXPECT_EQ(image.data_error(32).text, "inode 32: its inline data crosses the end of a block");
    const auto file = image->read_inode(8);
    const auto middle = image->map(*file, 100);
    EXPECT_EQ(middle->from, extent::source::device);
    EXPECT_EQ(middle->address, 20u * 512 + 100);
    EXPECT_EQ(middle->length, 412u);
    EXPECT_EQ(image->map(*file, 514)->address, b.nid_offset(8) + 64 + 2);
    EXPECT_EQ(image->map(*file, 514)->length, 1u);
    EXPECT_EQ(image->map(*file, 515).error().kind, error_kind::usage);
}

// One file of two chunks of 1024 bytes: one on the device, one in the image.
builder with_device() {
    builder b;
    b.super.feature_incompat = ondisk::incompat_device_table;
    b.super.extra_devices = 1;
    b.super.device_table_slot = 9;
    ondisk::device_slot slot{};
    slot.blocks_lo = 4;
    slot.uniaddr_lo = 64;
    b.put_struct(9 * 128, slot);
    b.directory_inode(0, {});
    // Ids are masked by the next power of two: 3 is 1.
    const ondisk::chunk_index on_device{0, 3, 2};
    const ondisk::chunk_index in_image{0xffff, 0, 20};  // without 48BIT in the format the high part is noise
    b.inode(8, builder::extended(regular, data_layout::chunk_based, 2000, ondisk::chunk_indexes | 1),
            bytes_of(on_device) + bytes_of(in_image));
    // Addressed in the space of all devices, as a file written before it was split.
    b.inode(12, builder::extended(regular, data_layout::flat_plain, 600, 65));
    b.put(20 * 512, std::string(1024, 'i'));
    return b;
}

std::string device_content() {
    return std::string(512, '0') + std::string(512, '1') + std::string(512, '2') + std::string(512, '3');
}

TEST(reader, data_on_a_device_is_found_behind_the_image_or_where_it_was_given) {
    const std::string first = std::string(512, '2') + std::string(512, '3') + std::string(976, 'i');
    const std::string second = std::string(512, '1') + std::string(88, '2');
    builder b = with_device();
    b.put(64 * 512, device_content());
    opened flat(b.image());
    EXPECT_TRUE(flat->super().flat_devices);
    EXPECT_EQ(flat.data(8), first);
    EXPECT_EQ(flat.data(12), second);

    test::bytes content(2048);
    std::memcpy(content.data(), device_content().data(), content.size());
    test::memory_reader device(content);
    opened given(with_device().image(), {&device});
    EXPECT_FALSE(given->super().flat_devices);
    EXPECT_EQ(given.data(8), first);
    EXPECT_EQ(given.data(12), second);
    EXPECT_EQ(given->map(*given->read_inode(8), 10)->device, 1u);
    EXPECT_EQ(given->map(*given->read_inode(8), 10)->address, 1034u);

    test::memory_reader image(with_device().image());
    const auto two = reader::open(image, image.size(), {&device, &device});
    ASSERT_FALSE(two);
    EXPECT_EQ(two.error().kind, error_kind::usage);
    EXPECT_EQ(two.error().text, "the image has 1 extra devices, 2 were given");
}

TEST(reader, a_chunk_on_a_device_that_does_not_exist_or_beyond_the_end_is_an_error) {
    builder b = with_device();
    b.put(64 * 512, device_content());
    const auto chunk = [&](ondisk::chunk_index index, std::uint32_t format = ondisk::chunk_indexes) {
        b.inode(8, builder::extended(regular, data_layout::chunk_based, 512, format), bytes_of(index));
        return opened(b.image()).data_error(8).text;
    };
    EXPECT_EQ(chunk({0, 1, 4}), "inode 8: its data in block 68 lies beyond the end of its device");
    EXPECT_EQ(chunk({0, 0, 0xfffffffe}), "inode 8: its data in block 4,294,967,294 lies beyond the end of its device");
    EXPECT_EQ(chunk({0xffff, 1, 0xfffffffe}, ondisk::chunk_indexes | ondisk::chunk_48bit),
              "inode 8: its data in block 281,474,976,710,718 lies beyond the end of its device");
    EXPECT_EQ(chunk({0, 0, 0}, 0x80), "inode 8: chunk format 0x80 isn't known");
    b.super.extra_devices = 2;
    ondisk::device_slot slot{};
    slot.uniaddr_lo = 64;
    b.put_struct(10 * 128, slot);
    EXPECT_EQ(chunk({0, 3, 0}), "inode 8: there is no device 3");
    b.inode(8, builder::extended(regular, data_layout::chunk_based, 1ULL << 62, ondisk::chunk_indexes | 31),
            bytes_of(0));
    opened image(b.image());
    const auto far = image->map(*image->read_inode(8), (1ULL << 62) - 1);
    ASSERT_FALSE(far);
    EXPECT_EQ(far.error().kind, error_kind::corrupt);
    b.inode(8, builder::extended(regular, data_layout::chunk_based, 1ULL << 62, 0));
    opened fine_grained(b.image());
    EXPECT_EQ(fine_grained->map(*fine_grained->read_inode(8), (1ULL << 62) - 1).error().kind, error_kind::corrupt);
}

TEST(reader, inodes_that_cannot_be_are_refused_with_their_number) {
    builder b;
    b.directory_inode(0, {});
    auto raw = builder::extended(0, data_layout::flat_plain, 0);
    b.inode(8, raw);
    raw = builder::extended(regular, data_layout::flat_plain, 1ULL << 63);
    b.inode(10, raw);
    raw = builder::extended(regular, data_layout::flat_plain, 0);
    raw.format = 0xb;  // layout 5
    b.inode(12, raw);
    raw.format = 0x21;
    b.inode(14, raw);
    opened image(b.image());
    EXPECT_EQ(image->read_inode(8).error().text, "inode 8: mode 0 has no file type");
    EXPECT_EQ(image->read_inode(10).error().text, "inode 10: its size is negative");
    EXPECT_EQ(image->read_inode(12).error().text, "inode 12: format 0xb isn't known");
    EXPECT_EQ(image->read_inode(12).error().kind, error_kind::unsupported);
    EXPECT_EQ(image->read_inode(14).error().text, "inode 14: format 0x21 isn't known");
    EXPECT_EQ(image->read_inode(960).error().text, "inode 960: metadata at byte 32,768 lies beyond its 32,768 bytes");
    EXPECT_EQ(image->read_inode(1ULL << 60).error().text, "inode 1152921504606846976: lies beyond any device");
    EXPECT_EQ(image->read_inode((1ULL << 63) | 5).error().text,
              "inode 5 of the metabox: lies in a metabox, the image has none");
}

TEST(reader, metadata_may_lie_in_a_metabox_that_is_not_compressed) {
    builder b(12, 16);
    b.super.feature_incompat = ondisk::incompat_48bit | ondisk::incompat_metabox;
    b.super.feature_compat = ondisk::compat_shared_xattr_metabox;
    b.super.extension_slots = 1;
    b.super.root_nid_8 = ondisk::nid_in_metabox | 2;
    b.metabox_nid = 1;
    // The metabox: 4096 bytes in block 8.
    b.inode(1, builder::extended(regular, data_layout::flat_plain, 4096, 8));
    const std::string names = builder::directory({{"..", b.super.root_nid_8}, {"f", ondisk::nid_in_metabox | 10}});
    auto root = builder::extended(0040755, data_layout::flat_inline, names.size());
    root.format = root.format | ondisk::format_dot_omitted;
    b.put_struct(8 * 4096 + 2 * 32, root);
    b.put(8 * 4096 + 2 * 32 + 64, names);
    auto file = builder::extended(regular, data_layout::flat_inline, 5);
    file.xattr_count = 2;
    b.put_struct(8 * 4096 + 10 * 32, file);
    ondisk::xattr_header header{};
    header.shared_count = 1;
    b.put(8 * 4096 + 10 * 32 + 64, bytes_of(header) + bytes_of(le32(500)) + "hello");
    b.put(8 * 4096 + 500 * 4, bytes_of(ondisk::xattr_entry{1, 4, 2}) + "avv");
    opened image(b.image());
    const auto found = resolve(*image.image, "/f");
    ASSERT_TRUE(found) << found.error().message();
    EXPECT_EQ(image.data(found->nid), "hello");
    EXPECT_EQ(image->map(*found, 0)->from, extent::source::metabox);
    const auto attributes = image->xattrs(*found);
    ASSERT_TRUE(attributes) << attributes.error().message();
    EXPECT_THAT(*attributes, ElementsAre(xattr{"trusted.a", "vv"}));
}

TEST(reader, long_xattr_prefixes_are_put_in_front) {
    builder b;
    b.super.feature_incompat = ondisk::incompat_xattr_prefixes;
    b.super.xattr_prefix_count = 2;
    b.super.xattr_prefix_start = 30 * 512 / 4;
    const std::string first = std::string("\x08\0\x04", 3) + "overlay";  // length of base and infix
    std::string one = first;
    one[0] = 1 + 7;
    b.put(30 * 512, one);
    b.put(30 * 512 + 12, std::string("\x05\0\x01", 3) + "com.");
    b.directory_inode(0, {});
    auto file = builder::extended(regular, data_layout::flat_inline, 0);
    const std::string entries = bytes_of(ondisk::xattr_entry{2, 0x80, 1}) + ".xv" + std::string(1, '\0') +  //
                                bytes_of(ondisk::xattr_entry{1, 0x81, 1}) + "yw" + std::string(2, '\0') +   //
                                bytes_of(ondisk::xattr_entry{1, 0x82, 1}) + "zz" +
                                std::string(2, '\0') +  // not in the table
                                bytes_of(ondisk::xattr_entry{0, 2, 3}) + "acl" + std::string(1, '\0') +  //
                                bytes_of(ondisk::xattr_entry{0, 0, 0});                                  // padding
    file.xattr_count = static_cast<std::uint16_t>(1 + entries.size() / 4);
    b.inode(8, file, bytes_of(ondisk::xattr_header{}) + entries);
    opened image(b.image());
    const auto attributes = image->xattrs(*image->read_inode(8));
    ASSERT_TRUE(attributes) << attributes.error().message();
    EXPECT_THAT(*attributes, ElementsAre(xattr{"trusted.overlay.x", "v"}, xattr{"user.com.y", "w"},
                                         xattr{"system.posix_acl_access", "acl"}));
}

TEST(reader, damaged_xattrs_are_refused) {
    builder b;
    b.directory_inode(0, {});
    const auto refused = [&](std::uint16_t count, const std::string& body) {
        auto file = builder::extended(regular, data_layout::flat_inline, 0);
        file.xattr_count = count;
        b.inode(8, file, body);
        opened image(b.image());
        const auto r = image->xattrs(*image->read_inode(8));
        return r ? "accepted" : r.error().text;
    };
    ondisk::xattr_header header{};
    EXPECT_EQ(refused(1, bytes_of(header)), "accepted");
    header.shared_count = 1;
    EXPECT_EQ(refused(1, bytes_of(header)),
              "inode 8: extended attributes are damaged: 1 shared ones don't fit 12 bytes");
    EXPECT_EQ(refused(2, bytes_of(header) + bytes_of(le32(0xffffffff))),
              "inode 8: metadata at byte 17,179,869,180 lies beyond its 32,768 bytes");
    header.shared_count = 0;
    EXPECT_EQ(refused(2, bytes_of(header) + bytes_of(ondisk::xattr_entry{1, 1, 0})),
              "inode 8: extended attributes are damaged: an entry is cut off");
    EXPECT_EQ(refused(2, bytes_of(header) + bytes_of(ondisk::xattr_entry{0, 1, 0})),
              "inode 8: extended attributes are damaged: a name is empty");
    EXPECT_EQ(refused(3, bytes_of(header) + bytes_of(ondisk::xattr_entry{2, 1, 0}) + std::string("a\0\0\0", 4)),
              "inode 8: extended attributes are damaged: a name has a NUL in it");
    EXPECT_EQ(refused(0xffff, bytes_of(header)), "inode 8: metadata at byte 2,368 lies beyond its 32,768 bytes");
}

TEST(reader, symlinks_have_a_target_of_possible_length) {
    builder b;
    b.directory_inode(0, {});
    b.inode(8, builder::extended(0120777, data_layout::flat_inline, 0));
    b.inode(10, builder::extended(0120777, data_layout::flat_plain, 4096, 20));
    b.inode(12, builder::extended(0120777, data_layout::flat_inline, 3), std::string_view("a\0b", 3));
    b.inode(16, builder::extended(0120777, data_layout::flat_plain, 4095, 20));
    b.put(20 * 512, std::string(4095, 't'));
    opened image(b.image());
    const auto text = [&](std::uint64_t nid) { return image->read_link(*image->read_inode(nid)).error().text; };
    EXPECT_EQ(text(8), "inode 8: a symlink's target can't have 0 bytes");
    EXPECT_EQ(text(10), "inode 10: a symlink's target can't have 4,096 bytes");
    EXPECT_EQ(text(12), "inode 12: a symlink's target has a NUL in it");
    EXPECT_EQ(image->read_link(*image->read_inode(16)), std::string(4095, 't'));
    EXPECT_EQ(text(0), "inode 0 isn't a symlink");
}

TEST(reader, an_error_of_the_source_is_handed_up_and_not_remembered) {
    struct failing final : byte_reader {
        explicit failing(test::bytes content) : inner(std::move(content)) {}
        status read_exact(std::uint64_t offset, std::span<std::byte> into) override {
            if (broken) return fail(error_kind::retryable, "the line is down", ENETDOWN);
            return inner.read_exact(offset, into);
        }
        test::memory_reader inner;
        bool broken = false;
    };
    builder b;
    b.directory_inode(0, {{"f", 8}});
    b.file_inode(8, "data");
    failing source(b.image());
    auto image = reader::open(source, source.inner.size());
    ASSERT_TRUE(image);
    source.broken = true;
    const auto r = image->root();
    ASSERT_FALSE(r);
    EXPECT_EQ(r.error().kind, error_kind::retryable);
    EXPECT_EQ(r.error().code, ENETDOWN);
    EXPECT_EQ(r.error().text, "inode 0: the line is down");
    source.broken = false;
    EXPECT_TRUE(image->root());
    EXPECT_TRUE(resolve(*image, "f"));
}

}  // namespace
}  // namespace nerofs::erofs
