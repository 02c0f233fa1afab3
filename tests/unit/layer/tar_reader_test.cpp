// Archives made byte by byte: each promise of tar_reader.h, and each kind of damage.
#include "layer/tar_reader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "image.h"

namespace nerofs::layer {
namespace {

using namespace test;
using testing::HasSubstr;

TEST(tar_reader, pieces_of_any_size_give_the_same_members) {
    const std::string long_name(300, 'n');
    const std::string archive = header("a/b", '0', 700).sealed() + padded(std::string(700, 'x')) +
                                gnu_long('L', long_name) + header("short", '0', 3).sealed() + padded("abc") +
                                pax(record("path", "from pax") + record("size", "513")) + header("p").sealed() +
                                padded(std::string(513, 'y')) + header("l", '2', 0, "target").sealed() + end_mark +
                                "rubbish behind the end";
    for (const std::size_t piece : {1U, 7U, 511U, 512U, 513U, 1024U, 1U << 20}) {
        SCOPED_TRACE(piece);
        const reading r = read_tar(archive, piece);
        ASSERT_TRUE(r.outcome) << r.outcome.error().message();
        ASSERT_EQ(r.entries.size(), 4u);
        EXPECT_EQ(r.entries[0].path, "a/b");
        EXPECT_EQ(r.entries[0].size, 700u);
        EXPECT_EQ(r.entries[0].data_offset, 512u);
        EXPECT_EQ(r.entries[1].path, long_name);
        EXPECT_EQ(archive.substr(r.entries[1].data_offset, 3), "abc");
        EXPECT_EQ(r.entries[2].path, "from pax");
        EXPECT_EQ(r.entries[2].size, 513u);
        EXPECT_EQ(archive.substr(r.entries[2].data_offset, 513), std::string(513, 'y'));
        EXPECT_EQ(r.entries[3].type, entry_type::symlink);
        EXPECT_EQ(r.entries[3].link_target, "target");
        EXPECT_TRUE(r.marked);
        EXPECT_EQ(r.bytes, archive.size() - std::string("rubbish behind the end").size());
    }
}

TEST(tar_reader, all_types_and_numbers_of_ustar) {
    header device("dev/x", '4');
    device.octal(329, 8, 259).octal(337, 8, 70000).octal(100, 8, 0102640).octal(108, 8, 1000).octal(116, 8, 65534);
    header prefixed("name", '5');
    prefixed.set(345, "some/prefix");
    const std::string archive = device.sealed() + prefixed.sealed() + header("c", '3').sealed() +
                                header("f", '6').sealed() + header("h", '1', 0, "c").sealed() +
                                header("old/", '\0').sealed() + header("cont", '7', 1).sealed() + padded("z") +
                                header("label", 'V', 0).sealed() + end_mark;
    const reading r = read_tar(archive);
    ASSERT_TRUE(r.outcome) << r.outcome.error().message();
    ASSERT_EQ(r.entries.size(), 7u);
    EXPECT_EQ(r.entries[0].type, entry_type::block);
    EXPECT_EQ(r.entries[0].device_major, 259u);
    EXPECT_EQ(r.entries[0].device_minor, 70000u);
    EXPECT_EQ(r.entries[0].permissions, 02640);
    EXPECT_EQ(r.entries[0].uid, 1000u);
    EXPECT_EQ(r.entries[0].gid, 65534u);
    EXPECT_EQ(r.entries[0].mtime, (erofs::timestamp{1600000000, 0}));
    EXPECT_EQ(r.entries[1].path, "some/prefix/name");
    EXPECT_EQ(r.entries[1].type, entry_type::directory);
    EXPECT_EQ(r.entries[2].type, entry_type::character);
    EXPECT_EQ(r.entries[3].type, entry_type::fifo);
    EXPECT_EQ(r.entries[4].type, entry_type::hard_link);
    EXPECT_EQ(r.entries[4].link_target, "c");
    EXPECT_EQ(r.entries[5].type, entry_type::directory);
    EXPECT_EQ(r.entries[6].type, entry_type::regular);
    EXPECT_EQ(r.entries[6].size, 1u);
}

TEST(tar_reader, base_256_numbers) {
    header h("big", '0');
    h.set(124, std::string("\x80\0\0\0\0\0\0\x01\x40\0\0\0", 12));                    // 5 GiB
    h.set(108, std::string("\x80\0\0\0\xee\x6b\x28\0", 8));                           // 4,000,000,000
    h.set(136, std::string("\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xfe", 12));  // -2
    h.set(116, std::string("\xff\xff\xff\xff\xff\xff\xff\xfe", 8));                   // -2: nobody
    std::vector<tar_entry> entries;
    tar_reader reader([&](tar_entry&& e) -> status {
        entries.push_back(std::move(e));
        return {};
    });
    ASSERT_TRUE(reader.push(bytes_of(h.sealed())));
    ASSERT_EQ(entries.size(), 1u);
    EXPECT_EQ(entries[0].size, 5ULL << 30);
    EXPECT_EQ(entries[0].uid, 4000000000u);
    EXPECT_EQ(entries[0].gid, 4294967294u);
    EXPECT_EQ(entries[0].mtime.seconds, -2);
    // Its data goes by without being kept.
    const std::string mebibyte(1 << 20, 'd');
    for (int i = 0; i < 5 << 10; ++i) ASSERT_TRUE(reader.push(bytes_of(mebibyte)));
    ASSERT_TRUE(reader.push(bytes_of(header("after").sealed() + end_mark)));
    ASSERT_TRUE(reader.finish());
    ASSERT_EQ(entries.size(), 2u);
    EXPECT_EQ(entries[1].data_offset, (5ULL << 30) + 1024);
}

TEST(tar_reader, pax_values_local_over_global_and_empty_ones_are_taken_back) {
    const std::string archive =
        pax(record("uid", "77") + record("mtime", "5.25") + record("SCHILY.xattr.user.a", "global") +
                record("comment", "x"),
            'g') +
        header("one").sealed() +
        pax(record("uid", "4000000001") + record("mtime", "-1.5") + record("SCHILY.xattr.user.a", "own") +
            record("LIBARCHIVE.xattr.user.b%3Dc", "AAEC/w") + record("SCHILY.xattr.user.empty", "")) +
        header("two").sealed() + pax(record("uid", "") + record("linkpath", "far")) +
        header("three", '2', 0, "near").sealed() + end_mark;
    const reading r = read_tar(archive);
    ASSERT_TRUE(r.outcome) << r.outcome.error().message();
    ASSERT_EQ(r.entries.size(), 3u);
    EXPECT_EQ(r.entries[0].uid, 77u);
    EXPECT_EQ(r.entries[0].mtime, (erofs::timestamp{5, 250000000}));
    EXPECT_EQ(r.entries[0].attributes, (std::vector<erofs::xattr>{{"user.a", "global"}}));
    EXPECT_EQ(r.entries[1].uid, 4000000001u);
    EXPECT_EQ(r.entries[1].mtime, (erofs::timestamp{-2, 500000000}));
    EXPECT_EQ(
        r.entries[1].attributes,
        (std::vector<erofs::xattr>{{"user.a", "own"}, {"user.b=c", std::string("\0\1\2\xff", 4)}, {"user.empty", ""}}));
    EXPECT_EQ(r.entries[2].uid, 0u);
    EXPECT_EQ(r.entries[2].link_target, "far");
}

TEST(tar_reader, both_sums_are_taken_and_no_other) {
    const std::string name = "caf\xc3\xa9";
    EXPECT_TRUE(read_tar(header(name).sealed() + end_mark).outcome);
    EXPECT_TRUE(read_tar(header(name).sealed(true) + end_mark).outcome);
    std::string wrong = header("a").sealed() + header(name).sealed() + end_mark;
    for (const std::size_t at : {515U, 636U, 664U, 1012U}) {
        std::string flipped = wrong;
        flipped[at] = static_cast<char>(flipped[at] ^ 0x01);
        const reading r = read_tar(flipped);
        ASSERT_FALSE(r.outcome) << at;
        EXPECT_EQ(r.outcome.error().kind, error_kind::corrupt);
        EXPECT_EQ(r.outcome.error().text, "tar header at 512: its checksum is wrong");
        EXPECT_EQ(r.entries.size(), 1u);
    }
}

TEST(tar_reader, sparse_files_are_refused_in_all_their_spellings) {
    const std::string text = "is a GNU sparse file, which an index can't point into";
    for (const std::string& archive :
         {header("s", 'S').sealed(), pax(record("GNU.sparse.major", "1") + record("path", "s")) + header("s").sealed(),
          pax(record("GNU.sparse.map", "0,1")) + header("s").sealed()}) {
        const reading r = read_tar(archive + end_mark);
        ASSERT_FALSE(r.outcome);
        EXPECT_EQ(r.outcome.error().kind, error_kind::unsupported);
        EXPECT_THAT(r.outcome.error().text, HasSubstr(text));
        EXPECT_EQ(r.outcome.error().hint, "write the archive without --sparse");
        EXPECT_TRUE(r.entries.empty());
    }
}

TEST(tar_reader, the_end_is_two_blocks_of_zeros_or_where_a_member_ends) {
    const std::string one = header("a", '0', 600).sealed() + padded(std::string(600, 'x'));
    EXPECT_FALSE(read_tar(one).marked);
    EXPECT_TRUE(read_tar(one).outcome);
    EXPECT_TRUE(read_tar(one + end_mark).marked);
    const std::size_t all_data = 512 + 600;  // umoci leaves out what fills up the last file's block
    for (std::size_t cut = all_data; cut < one.size(); ++cut)
        EXPECT_TRUE(read_tar(std::string_view(one).substr(0, cut)).outcome) << cut;
    for (std::size_t cut = 1; cut < all_data; ++cut) {
        const reading r = read_tar(std::string_view(one).substr(0, cut));
        ASSERT_FALSE(r.outcome) << cut;
        EXPECT_EQ(r.outcome.error().text, "the tar archive is cut off after " + std::to_string(cut) + " bytes");
    }
    const reading lone = read_tar(one + std::string(512, '\0') + one);
    ASSERT_FALSE(lone.outcome);
    EXPECT_EQ(lone.outcome.error().text, "tar header at 2048: follows a lone block of zeros");
    EXPECT_EQ(read_tar("").outcome.error().text, "not a tar archive: it is empty");
    EXPECT_EQ(read_tar(std::string(1024, 'g')).outcome.error().text, "tar header at 0: not a tar archive");
    EXPECT_FALSE(read_tar(pax(record("path", "x")) + end_mark).outcome);
    EXPECT_FALSE(read_tar(pax(record("path", "x"))).outcome);
}

TEST(tar_reader, damage_is_named) {
    const auto text_of = [](const std::string& archive) {
        const reading r = read_tar(archive + end_mark);
        return r.outcome ? std::string("nothing") : r.outcome.error().text;
    };
    EXPECT_EQ(text_of(header("x").set(100, "0009644").sealed()), "tar header at 0: its mode isn't a number");
    EXPECT_EQ(text_of(header("x").set(124, std::string(12, '\xff')).sealed()), "tar header at 0: its size is negative");
    EXPECT_EQ(text_of(header("x").set(124, "\x80" + std::string(11, '\x7f')).sealed()),
              "tar header at 0: its size isn't a number");
    EXPECT_EQ(text_of(header("").sealed()), "tar header at 0: a member has no name");
    EXPECT_EQ(text_of(header("x", '2').sealed()), "tar header at 0: a link has no target");
    EXPECT_EQ(text_of(header("x", 'Q').sealed()), "'x': members of type 'Q' aren't known");
    EXPECT_EQ(text_of(header("x", 'M').sealed()), "'x': is continued from another archive");
    EXPECT_EQ(text_of(header("x", '3').octal(329, 8, 4096).sealed()), "tar header at 0: its device number isn't one");
    EXPECT_EQ(text_of(pax("12 path=abc")), "tar header at 0: a pax header is damaged: a record's length is wrong");
    EXPECT_EQ(text_of(pax("11 path=abcd")),
              "tar header at 0: a pax header is damaged: a record doesn't end where its length says");
    EXPECT_EQ(text_of(pax("99999999999999999999 path=a\n")),
              "tar header at 0: a pax header is damaged: a record has no length");
    EXPECT_EQ(text_of(pax("5 =a\n")), "tar header at 0: a pax header is damaged: a record has no keyword");
    EXPECT_EQ(text_of(pax(record("path", std::string("a\0b", 3))) + header("x").sealed()),
              "tar header at 1024: a path has a NUL in it");
    EXPECT_EQ(text_of(pax(record("size", "-1")) + header("x").sealed()), "tar header at 1024: its size isn't a number");
    EXPECT_EQ(text_of(pax(record("size", "9223372036854775807")) + header("x").sealed()),
              "tar header at 1024: its size is beyond any file's");
    EXPECT_EQ(text_of(pax(record("uid", "4294967296")) + header("x").sealed()),
              "tar header at 1024: its owner isn't a number of 32 bits");
    EXPECT_EQ(text_of(pax(record("LIBARCHIVE.xattr.user.a", "!")) + header("x").sealed()),
              "tar header at 1024: an extended attribute is wrongly encoded");
    EXPECT_EQ(text_of(pax(record("path", std::string(4096, 'p'))) + header("x").sealed()),
              "'" + std::string(100, 'p') + "…': the path is too long");
    EXPECT_EQ(text_of(header("x", 'x', (1 << 20) + 1).sealed()),
              "tar header at 0: a pax header of 1048577 bytes is too long");
    EXPECT_EQ(text_of(header("x", 'L', 4097).sealed()), "tar header at 0: a path of 4097 bytes is too long");
}

TEST(tar_reader, an_error_stays_and_the_visitors_is_passed_on) {
    int calls = 0;
    tar_reader reader([&](tar_entry&&) -> status {
        ++calls;
        return fail(error_kind::cancelled, "enough");
    });
    const std::string archive = header("a").sealed() + header("b").sealed() + end_mark;
    for (int i = 0; i < 2; ++i) {
        const auto pushed = reader.push(bytes_of(archive));
        ASSERT_FALSE(pushed);
        EXPECT_EQ(pushed.error().text, "enough");
    }
    EXPECT_EQ(calls, 1);
    EXPECT_FALSE(reader.finish());
}

TEST(tar_reader, global_headers_together_have_a_cap) {
    std::string archive;
    for (int i = 0; i < 20; ++i) {
        archive += pax(record("SCHILY.xattr.user.n" + std::to_string(i), std::string(60000, 'v')), 'g');
    }
    const reading r = read_tar(archive + end_mark);
    ASSERT_FALSE(r.outcome);
    EXPECT_EQ(r.outcome.error().kind, error_kind::unsupported);
    EXPECT_THAT(r.outcome.error().text, HasSubstr("its pax headers are too long"));
}

TEST(whiteouts, names) {
    EXPECT_EQ(whiteout_of(".wh.gone"), whiteout::remove);
    EXPECT_EQ(removed_name(".wh.gone"), "gone");
    EXPECT_EQ(whiteout_of(".wh..wh..opq"), whiteout::opaque);
    EXPECT_EQ(whiteout_of(".wh..wh.plnk"), whiteout::other);
    EXPECT_EQ(whiteout_of(".wh..hidden"), whiteout::remove);
    EXPECT_EQ(whiteout_of(".wh..."), whiteout::other);
    EXPECT_EQ(whiteout_of(".wh."), whiteout::none);
    EXPECT_EQ(whiteout_of("a.wh.b"), whiteout::none);
}

}  // namespace
}  // namespace nerofs::layer
