// Files of images made on the spot: lists, bytes, and extraction where the shell can't go (tests/tool/files has the
// rest).
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "erofs/memory_reader.h"
#include "erofs/writer.h"
#include "files/extract.h"
#include "files/image_files.h"
#include "layer/tree.h"

namespace nerofs::files {
namespace {

// Members in an image, and the data that all regular files begin with.
struct made_image {
    std::vector<std::byte> bytes;
    std::unique_ptr<erofs::memory_reader> view;
    std::unique_ptr<erofs::reader> reader;
};

layer::tar_entry member(std::string path, layer::entry_type type = layer::entry_type::regular, std::uint64_t size = 0) {
    layer::tar_entry e;
    e.path = std::move(path);
    e.type = type;
    e.permissions = 0700;
    e.size = size;
    e.uid = ::geteuid();
    e.gid = ::getegid();
    return e;
}

made_image image_of(std::vector<layer::tar_entry> members, std::string data = "") {
    layer::tree tree;
    for (auto& m : members)
        if (const auto added = tree.add(std::move(m)); !added) throw std::runtime_error(added.error().message());
    if (const auto done = tree.finish(); !done) throw std::runtime_error(done.error().message());
    data.resize((data.size() + 511) / 512 * 512);
    auto index = erofs::write_index(tree, data.size());
    if (!index) throw std::runtime_error(index.error().message());
    const auto tail = std::as_bytes(std::span(data));
    index->bytes.insert(index->bytes.end(), tail.begin(), tail.end());
    made_image out;
    out.bytes = std::move(index->bytes);
    out.view = std::make_unique<erofs::memory_reader>(std::span(out.bytes));
    auto opened = erofs::reader::open(*out.view, out.bytes.size());
    if (!opened) throw std::runtime_error(opened.error().message());
    out.reader = std::make_unique<erofs::reader>(std::move(*opened));
    return out;
}

class files_test : public testing::Test {
  protected:
    void SetUp() override {
        std::string name = std::filesystem::temp_directory_path() / "nerofs-test-XXXXXX";
        ASSERT_NE(::mkdtemp(name.data()), nullptr);
        scratch_ = name;
    }
    void TearDown() override { std::filesystem::remove_all(scratch_); }
    std::string scratch_;
};

TEST_F(files_test, modes_as_ls_has_them) {
    EXPECT_EQ(mode_text(0100644), "-rw-r--r--");
    EXPECT_EQ(mode_text(0104755), "-rwsr-xr-x");
    EXPECT_EQ(mode_text(0102644), "-rw-r-Sr--");
    EXPECT_EQ(mode_text(0041777), "drwxrwxrwt");
    EXPECT_EQ(mode_text(0041000), "d--------T");
    EXPECT_EQ(mode_text(0120777), "lrwxrwxrwx");
    EXPECT_EQ(mode_text(0020600), "crw-------");
    EXPECT_EQ(mode_text(0060600), "brw-------");
    EXPECT_EQ(mode_text(0010600), "prw-------");
    EXPECT_EQ(mode_text(0140600), "srw-------");
}

TEST_F(files_test, bytes_come_in_pieces_and_an_error_of_the_sink_ends_them) {
    std::string data(3000000, '-');
    for (std::size_t i = 0; i < data.size(); ++i) data[i] = static_cast<char>(i % 251);
    made_image image = image_of(
        {member("f", layer::entry_type::regular, data.size()), member("d", layer::entry_type::directory)}, data);
    const auto file = erofs::resolve(*image.reader, "f");
    ASSERT_TRUE(file);
    std::string got;
    ASSERT_TRUE(read(*image.reader, *file, holes::skipped, [&](std::uint64_t at, std::span<const std::byte> bytes) {
        EXPECT_EQ(at, got.size());
        EXPECT_LE(bytes.size(), 1U << 20);
        got.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
        return status();
    }));
    EXPECT_TRUE(got == data);
    int calls = 0;
    const auto ended = read(*image.reader, *file, holes::as_zeros, [&](std::uint64_t, std::span<const std::byte>) {
        ++calls;
        return status(fail(error_kind::permanent, "enough"));
    });
    EXPECT_EQ(ended.error().text, "enough");
    EXPECT_EQ(calls, 1);
    const auto directory = erofs::resolve(*image.reader, "d");
    EXPECT_FALSE(read(*image.reader, *directory, holes::as_zeros, [](auto, auto) { return status(); }));
}

// Longer than the kernel takes at once.
TEST_F(files_test, paths_of_any_length_are_extracted) {
    std::string path;
    for (int level = 0; level < 30; ++level) path += std::string(200, static_cast<char>('a' + level % 26)) + "/";
    layer::tar_entry link = member(path + "other", layer::entry_type::hard_link);
    link.link_target = path + "leaf";
    made_image image = image_of({member(path + "leaf", layer::entry_type::regular, 5), std::move(link)}, "hello");
    const auto done = extract(*image.reader, "/", scratch_ + "/out", {::geteuid() == 0});
    ASSERT_TRUE(done) << done.error().message();
    EXPECT_EQ(done->names, 32u);
    EXPECT_EQ(done->bytes, 5u);
    const auto moved = std::filesystem::current_path();
    std::filesystem::current_path(scratch_ + "/out");
    for (int level = 0; level < 30; ++level)
        std::filesystem::current_path(std::string(200, static_cast<char>('a' + level % 26)));
    struct stat leaf {};
    EXPECT_EQ(::stat("leaf", &leaf), 0);
    EXPECT_EQ(leaf.st_size, 5);
    EXPECT_EQ(leaf.st_nlink, 2u);
    std::filesystem::current_path(moved);
}

TEST_F(files_test, a_directory_that_was_there_keeps_its_mode) {
    made_image image = image_of({member("/", layer::entry_type::directory), member("d", layer::entry_type::directory)});
    std::filesystem::create_directory(scratch_ + "/out");
    ASSERT_EQ(::chmod((scratch_ + "/out").c_str(), 0751), 0);
    ASSERT_TRUE(extract(*image.reader, "/", scratch_ + "/out", {}));
    struct stat found {};
    ASSERT_EQ(::stat((scratch_ + "/out").c_str(), &found), 0);
    EXPECT_EQ(found.st_mode & 07777, 0751u);
    ASSERT_EQ(::stat((scratch_ + "/out/d").c_str(), &found), 0);
    EXPECT_EQ(found.st_mode & 07777, 0700u);
}

// The only chunk of a file is made a hole.
TEST_F(files_test, holes_stay_holes) {
    layer::tar_entry file = member("f", layer::entry_type::regular, 1 << 20);
    file.data_offset = 3 * 512;
    made_image image = image_of({std::move(file)}, std::string((1 << 20) + 2048, 'x'));
    const std::string chunk("\0\0\1\0\3\0\0\0", 8);
    std::vector<std::byte>& bytes = image.bytes;
    const auto where = std::search(bytes.begin(), bytes.end(), chunk.begin(), chunk.end(),
                                   [](std::byte b, char c) { return b == static_cast<std::byte>(c); });
    ASSERT_NE(where, bytes.end());
    std::fill_n(where, 8, std::byte{0xff});
    const auto done = extract(*image.reader, "f", scratch_ + "/out", {});
    ASSERT_TRUE(done) << done.error().message();
    EXPECT_EQ(done->bytes, 0u);
    struct stat found {};
    ASSERT_EQ(::stat((scratch_ + "/out/f").c_str(), &found), 0);
    EXPECT_EQ(found.st_size, 1 << 20);
    EXPECT_EQ(found.st_blocks, 0);
    std::uint64_t zeros = 0;
    const auto i = erofs::resolve(*image.reader, "f");
    ASSERT_TRUE(read(*image.reader, *i, holes::as_zeros, [&](std::uint64_t, std::span<const std::byte> piece) {
        zeros += static_cast<std::uint64_t>(std::count(piece.begin(), piece.end(), std::byte{0}));
        return status();
    }));
    EXPECT_EQ(zeros, 1U << 20);
}

// As another user could put there while the extraction runs.
TEST_F(files_test, symlinks_on_the_way_are_not_followed) {
    made_image image = image_of({member("d/e/f", layer::entry_type::regular, 5)}, "hello");
    std::filesystem::create_directories(scratch_ + "/elsewhere/e");
    std::filesystem::create_directory(scratch_ + "/out");
    std::filesystem::create_symlink(scratch_ + "/elsewhere", scratch_ + "/out/d");
    const auto done = extract(*image.reader, "/", scratch_ + "/out", {});
    ASSERT_FALSE(done);
    EXPECT_EQ(done.error().text, "'d': create: File exists");
    EXPECT_TRUE(std::filesystem::is_empty(scratch_ + "/elsewhere/e"));
}

}  // namespace
}  // namespace nerofs::files
