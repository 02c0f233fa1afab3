// The reader's view of every sample against what a kernel showed of it (tests/data/samples/tree.txt, tree.sha256).
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <map>
#include <string>
#include <vector>

#include "codec/hex.h"
#include "codec/sha256.h"
#include "erofs/reader.h"
#include "erofs/tree.h"
#include "image.h"

namespace nerofs::erofs {
namespace {

const std::string samples = NEROFS_TEST_DATA "/samples/";
constexpr std::string_view compressed_text = "compressed EROFS isn't readable without mounting yet";

std::vector<std::string> lines_of(const std::string& path) {
    std::ifstream in(path);
    std::vector<std::string> lines;
    for (std::string line; std::getline(in, line);) lines.push_back(line);
    EXPECT_FALSE(lines.empty()) << path;
    return lines;
}

char type_letter(file_type type) {
    return "fdlcbps"[static_cast<std::size_t>(type)];
}

std::string shown_path(std::string_view path) {
    return path.empty() ? "." : "./" + std::string(path);
}

// One line of tree.txt. A directory's size depends on the image's block size and on whether "." is stored: `with_size`
// says whether it is to be compared.
std::string line_of(reader& image, std::string_view path, const inode& i) {
    std::string line = shown_path(path) + "\t" + type_letter(i.type) + "\t0";
    for (const int shift : {9, 6, 3, 0}) {
        const unsigned digit = (i.mode >> shift) & 7;
        if (shift < 9 || digit != 0) line += static_cast<char>('0' + digit);
    }
    line += "\t" + std::to_string(i.uid) + ":" + std::to_string(i.gid) + "\t" + std::to_string(i.links) + "\t";
    line += (i.type == file_type::directory ? "*" : std::to_string(i.size)) + "\t";
    if (i.type == file_type::symlink) {
        const auto target = image.read_link(i);
        line += target ? *target : target.error().message();
    }
    return line;
}

std::vector<std::string> expected_lines() {
    std::vector<std::string> lines = lines_of(samples + "tree.txt");
    for (std::string& line : lines) {
        std::vector<std::size_t> tabs;
        for (std::size_t at = line.find('\t'); at != std::string::npos; at = line.find('\t', at + 1))
            tabs.push_back(at);
        if (line.substr(tabs[0] + 1, 1) == "d") line.replace(tabs[4] + 1, tabs[5] - tabs[4] - 1, "*");
    }
    std::sort(lines.begin(), lines.end());
    return lines;
}

result<std::string> hash_of(reader& image, const inode& file, std::size_t piece) {
    codec::sha256 hasher;
    std::vector<std::byte> buffer(piece);
    std::uint64_t offset = 0;
    for (;;) {
        NEROFS_TRY(const std::size_t got, image.read(file, offset, buffer));
        if (got == 0) break;
        hasher.update(std::span(buffer).first(got));
        offset += got;
    }
    if (offset != file.size) return fail(error_kind::corrupt, "ended early");
    return codec::to_hex(hasher.finish());
}

struct shown {
    std::vector<std::string> lines;
    std::vector<std::string> hashes;  // in tree.sha256's form, of what could be read
    std::map<std::string, std::map<std::string, std::string>> xattrs;
    std::map<std::string, inode> inodes;
    int compressed = 0;
};

shown show(test::memory_reader& bytes, std::size_t piece = 65536) {
    shown out;
    auto image = reader::open(bytes, bytes.size());
    if (!image) {
        ADD_FAILURE() << image.error().message();
        return out;
    }
    const auto walked = walk(*image, [&](std::string_view path, const inode& i) -> status {
        out.lines.push_back(line_of(*image, path, i));
        out.inodes[shown_path(path)] = i;
        NEROFS_TRY(const std::vector<xattr> attributes, image->xattrs(i));
        for (const xattr& a : attributes) out.xattrs[shown_path(path)][a.name] = a.value;
        if (i.type != file_type::regular) return {};
        const auto hash = hash_of(*image, i, piece);
        if (hash) {
            out.hashes.push_back(*hash + "  " + shown_path(path));
        } else {
            EXPECT_TRUE(i.compressed()) << path << ": " << hash.error().message();
            EXPECT_EQ(hash.error().kind, error_kind::unsupported);
            EXPECT_EQ(hash.error().text, "inode " + std::to_string(i.nid) + ": " + std::string(compressed_text));
            ++out.compressed;
        }
        return {};
    });
    EXPECT_TRUE(walked) << walked.error().message();
    std::sort(out.lines.begin(), out.lines.end());
    std::sort(out.hashes.begin(), out.hashes.end());
    return out;
}

std::vector<std::string> expected_hashes() {
    auto lines = lines_of(samples + "tree.sha256");
    std::sort(lines.begin(), lines.end());
    return lines;
}

void expect_xattrs(const shown& tree) {
    std::string big(1024, '\0');
    for (std::size_t i = 0; i < big.size(); ++i) big[i] = static_cast<char>(i & 0xff);
    EXPECT_EQ(tree.xattrs.at("./bin/mixed").at("user.note"), "hello");
    EXPECT_EQ(tree.xattrs.at("./bin/mixed-hard").at("user.note"), "hello");
    EXPECT_EQ(tree.xattrs.at("./bin/zeros").at("security.capability"),
              std::string("\x01\0\0\x02\0\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 20));
    EXPECT_EQ(tree.xattrs.at("./etc").at("trusted.overlay.test"), "y");
    EXPECT_TRUE(tree.xattrs.at("./etc/hostname").at("user.big") == big);
    EXPECT_EQ(tree.xattrs.size(), 6u);
}

TEST(samples, uncompressed_ones_are_read_in_full) {
    for (const std::string name : {"plain", "plain512", "chunk"}) {
        SCOPED_TRACE(name);
        test::memory_reader bytes(test::sample(name));
        const shown tree = show(bytes);
        EXPECT_EQ(tree.lines, expected_lines());
        EXPECT_EQ(tree.hashes, expected_hashes());
        EXPECT_EQ(tree.compressed, 0);
        expect_xattrs(tree);
        EXPECT_EQ(show(bytes, 777).hashes, expected_hashes());
    }
}

TEST(samples, tar_indexes_with_their_tar_show_the_same_tree) {
    for (const std::string name : {"pax", "gnu"}) {
        SCOPED_TRACE(name);
        test::memory_reader bytes(test::tarindex_with_tar(name));
        const shown tree = show(bytes);
        EXPECT_EQ(tree.lines, expected_lines());
        EXPECT_EQ(tree.hashes, expected_hashes());
        if (name == "pax") expect_xattrs(tree);
    }
}

TEST(samples, of_compressed_ones_all_but_the_data_is_read) {
    for (const std::string name :
         {"legacy", "lz4", "lz4hc64k", "lz4tail", "lz4dedupe", "lz4frag", "deflate", "zstd", "lzma"}) {
        SCOPED_TRACE(name);
        test::memory_reader bytes(test::sample(name));
        const shown tree = show(bytes);
        EXPECT_EQ(tree.lines, expected_lines());
        expect_xattrs(tree);
        EXPECT_GT(tree.compressed, 5);
        EXPECT_EQ(tree.hashes.size() + static_cast<std::size_t>(tree.compressed), expected_hashes().size());
        const auto all = expected_hashes();
        EXPECT_TRUE(std::includes(all.begin(), all.end(), tree.hashes.begin(), tree.hashes.end()));
    }
}

TEST(samples, compressed_metadata_is_told_as_such) {
    test::memory_reader bytes(test::sample("metabox"));
    auto image = reader::open(bytes, bytes.size());
    ASSERT_TRUE(image) << image.error().message();
    const auto root = image->root();
    ASSERT_FALSE(root);
    EXPECT_EQ(root.error().kind, error_kind::unsupported);
    EXPECT_EQ(root.error().text,
              "inode 0 of the metabox: the image's metadata is compressed: " + std::string(compressed_text));
    const auto box = image->read_inode(*image->super().metabox_nid);
    ASSERT_TRUE(box);
    EXPECT_TRUE(box->compressed());
}

TEST(samples, times_and_device_numbers_are_as_written) {
    test::memory_reader bytes(test::sample("plain"));
    const shown tree = show(bytes);
    EXPECT_EQ(tree.inodes.at("./dev/null").device_major, 1u);
    EXPECT_EQ(tree.inodes.at("./dev/null").device_minor, 3u);
    EXPECT_EQ(tree.inodes.at("./dev/blk").device_major, 259u);
    EXPECT_EQ(tree.inodes.at("./dev/blk").device_minor, 70000u);
    EXPECT_EQ(tree.inodes.at("./etc/empty").mtime, (timestamp{1600000000, 0}));
}

}  // namespace
}  // namespace nerofs::erofs
