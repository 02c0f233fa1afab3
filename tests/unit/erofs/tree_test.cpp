// Directories, lookups, paths and walks: right answers, and an end for every lie.
#include "erofs/tree.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cerrno>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>

#include "builder.h"
#include "image.h"

namespace nerofs::erofs {
namespace {

using ondisk::data_layout;
using test::builder;
using testing::ElementsAre;

struct opened {
    explicit opened(test::bytes content) : bytes(std::move(content)), image(reader::open(bytes, bytes.size())) {
        EXPECT_TRUE(image) << image.error().message();
    }
    // All paths, "!" and the error at the end if there is one.
    std::vector<std::string> walked(const walk_limits& limits = {}) {
        std::vector<std::string> paths;
        const auto r = walk(
            *image,
            [&](std::string_view path, const inode&) -> status {
                paths.emplace_back(path);
                return {};
            },
            limits);
        if (!r) paths.push_back("! " + r.error().text);
        return paths;
    }
    std::string resolved(std::string_view path, last_symlink last = last_symlink::follow) {
        const auto r = resolve(*image, path, last);
        return r ? std::to_string(r->nid) : r.error().text;
    }
    test::memory_reader bytes;
    result<reader> image;
};

TEST(walk, goes_through_everything_and_shows_a_directory_before_what_is_in_it) {
    builder b;
    b.directory_inode(0, {{"a", 16}, {"b", 24}, {"hard", 24}, {"z", 32}});
    b.directory_inode(16, {{"deep", 40}, {"f", 24}});
    b.file_inode(24, "x");
    b.directory_inode(32, {});
    b.directory_inode(40, {{"g", 24}});
    opened image(b.image());
    EXPECT_THAT(image.walked(), ElementsAre("", "a", "b", "hard", "z", "a/deep", "a/f", "a/deep/g"));
    EXPECT_THAT(image.walked({3, 100}), ElementsAre("", "a", "b", "hard", "! the image has more than 3 names"));
    EXPECT_THAT(image.walked({100, 5}), ElementsAre("", "a", "b", "hard", "z", "! a path is longer than 5 bytes"));
    int seen = 0;
    const auto stopped = walk(*image.image, [&](std::string_view, const inode&) -> status {
        if (++seen == 3) return fail(error_kind::cancelled, "enough");
        return {};
    });
    EXPECT_EQ(stopped.error().text, "enough");
    EXPECT_EQ(seen, 3);
}

TEST(walk, a_loop_of_directories_is_found) {
    builder b;
    b.directory_inode(0, {{"a", 16}});
    b.directory_inode(16, {{"b", 32}});
    b.directory_inode(32, {{"again\n", 16}});
    EXPECT_THAT(opened(b.image()).walked(),
                ElementsAre("", "a", "a/b", "! directory 'a/b/again\\x0a' (inode 16) is met twice"));
    b.directory_inode(32, {{"root", 0}});
    EXPECT_THAT(opened(b.image()).walked(),
                ElementsAre("", "a", "a/b", "! directory 'a/b/root' (inode 0) is met twice"));
}

TEST(directory, damage_is_refused) {
    const auto walk_of = [](const std::string& block) {
        builder b;
        b.inode(0, builder::extended(0040755, data_layout::flat_plain, block.size(), 20));
        b.put(20 * 512, block);
        b.file_inode(16, "x");
        return opened(b.image()).walked().back();
    };
    const std::string prefix = "! inode 0: directory is damaged: ";
    const std::string bad_name = prefix + "a name is empty, too long, or has a '/' or NUL in it";
    EXPECT_EQ(walk_of(builder::directory({{"a", 16}, {"b", 16}})), "b");
    EXPECT_EQ(walk_of(builder::directory({{"b", 16}, {"a", 16}})), prefix + "its names aren't in order");
    EXPECT_EQ(walk_of(builder::directory({{"a", 16}, {"a", 16}})), prefix + "its names aren't in order");
    EXPECT_EQ(walk_of(builder::directory({{"", 16}, {"a", 16}})), bad_name);
    EXPECT_EQ(walk_of(builder::directory({{"a/b", 16}})), bad_name);
    EXPECT_EQ(walk_of(builder::directory({{"/", 16}})), bad_name);
    EXPECT_EQ(walk_of(builder::directory({{std::string("a\0b", 3), 16}, {"c", 16}})), bad_name);
    EXPECT_EQ(walk_of(builder::directory({{std::string(256, 'n'), 16}})), bad_name);
    EXPECT_EQ(walk_of(builder::directory({{std::string(255, 'n'), 16}})), std::string(255, 'n'));
    EXPECT_EQ(walk_of(builder::directory({{"pad", 16}}) + std::string(20, '\0')), "pad");
    EXPECT_EQ(walk_of(std::string(512, '\0')), prefix + "its names start at byte 0 of 512");
    EXPECT_EQ(walk_of("short"), prefix + "it ends within an entry");
    EXPECT_EQ(walk_of(builder::directory({{"", 16}})), prefix + "its names start at byte 12 of 12");
    std::string shifted = builder::directory({{"a", 16}, {"b", 16}});
    shifted[12 + 8] = 1;  // the second name starts before the first
    EXPECT_EQ(walk_of(shifted), prefix + "an entry's name lies outside the names");
    shifted[12 + 8] = 100;
    EXPECT_EQ(walk_of(shifted), prefix + "an entry's name lies outside the names");
}

TEST(directory, repeated_blocks_do_not_make_it_endless) {
    builder b;
    // 2^40 bytes, each chunk the same good block.
    std::string chunks;
    for (int i = 0; i < 4; ++i) chunks += std::string("\x14\0\0\0", 4);
    b.inode(0, builder::extended(0040755, data_layout::chunk_based, 1ULL << 40, 0), chunks);
    std::string block = builder::directory({{".", 0}, {"..", 0}, {"a", 16}});
    block.resize(512);
    b.put(20 * 512, block);
    b.file_inode(16, "x");
    opened image(b.image());
    EXPECT_THAT(image.walked(), ElementsAre("", "a", "! inode 0: directory is damaged: its names aren't in order"));
    EXPECT_EQ(image.resolved("zz"), "inode 0: metadata at byte 4,294,969,408 lies beyond its 32,768 bytes");
}

TEST(directory, every_name_of_a_large_directory_is_found_with_few_reads) {
    builder b(9, 4096);
    std::vector<std::vector<std::pair<std::string, std::uint64_t>>> blocks;
    for (int i = 0; i < 1000; ++i) {
        std::vector<std::pair<std::string, std::uint64_t>> entries;
        for (int j = 0; j < 20; ++j) {
            char name[16];
            std::snprintf(name, sizeof name, "name%05d", i * 20 + j);
            entries.emplace_back(name, 16);
        }
        std::string block = builder::directory(entries);
        block.resize(512);
        b.put((100 + static_cast<std::size_t>(i)) * 512, block);
        blocks.push_back(entries);
    }
    b.inode(0, builder::extended(0040755, data_layout::flat_plain, 512 * 1000, 100));
    b.file_inode(16, "x");
    opened image(b.image());
    for (const auto& entries : blocks) {
        for (const auto& [name, nid] : entries) ASSERT_EQ(image.resolved(name), "16") << name;
    }
    const std::uint64_t before = image.bytes.read_bytes();
    EXPECT_EQ(image.resolved("name10000"), "16");
    EXPECT_LE(image.bytes.read_bytes() - before, 10u * 512 + 4096 * 2);
    for (const char* name : {"name", "name00000x", "name20000", "a", "zzz"}) {
        EXPECT_EQ(image.resolved(name), "'" + std::string(name) + "': no such file in the image");
    }
}

TEST(resolve, follows_symlinks_within_the_image_only) {
    builder b;
    const auto link = [&](std::uint64_t nid, std::string_view target) {
        b.inode(nid, builder::extended(0120777, data_layout::flat_inline, target.size()), target);
    };
    b.directory_inode(0, {{"abs", 80}, {"d", 16}, {"f", 32}, {"loop", 96}, {"out", 40}, {"self", 48}});
    b.directory_inode(16, {{"file", 32}, {"up", 64}});
    b.file_inode(32, "x");
    link(40, "../../../../f");
    link(48, "d/./up/d/");
    link(64, "..");
    link(80, "/d//file");
    link(96, "/loop");
    opened image(b.image());
    EXPECT_EQ(image.resolved("/"), "0");
    EXPECT_EQ(image.resolved("."), "0");
    EXPECT_EQ(image.resolved("/.."), "0");
    EXPECT_EQ(image.resolved("../../d/../f"), "32");
    EXPECT_EQ(image.resolved("d/file"), "32");
    EXPECT_EQ(image.resolved("out"), "32");
    EXPECT_EQ(image.resolved("out", last_symlink::keep), "40");
    EXPECT_EQ(image.resolved("self"), "16");
    EXPECT_EQ(image.resolved("self/file"), "32");
    EXPECT_EQ(image.resolved("self/", last_symlink::keep), "16");
    EXPECT_EQ(image.resolved("abs"), "32");
    EXPECT_EQ(image.resolved("d/up/out"), "32");
    const auto code = [&](std::string_view path) { return resolve(*image.image, path).error().code; };
    EXPECT_EQ(image.resolved("loop"), "'loop': too many symlinks");
    EXPECT_EQ(code("loop"), ELOOP);
    EXPECT_EQ(image.resolved("f/"), "'f/': a part of it isn't a directory");
    EXPECT_EQ(image.resolved("f/x"), "'f/x': a part of it isn't a directory");
    EXPECT_EQ(image.resolved("f/.."), "'f/..': a part of it isn't a directory");
    EXPECT_EQ(code("f/.."), ENOTDIR);
    EXPECT_EQ(image.resolved("d/no\t"), "'d/no\\x09': no such file in the image");
    EXPECT_EQ(code("d/no"), ENOENT);
    EXPECT_EQ(image.resolved(""), "'': no such file in the image");
    EXPECT_EQ(code(std::string(4096, 'a')), ENAMETOOLONG);
    EXPECT_EQ(code(std::string(256, 'a')), ENAMETOOLONG);
    EXPECT_EQ(code(std::string_view("a\0b", 3)), ENOENT);
}

TEST(walk, images_of_the_installed_mkfs_equal_the_tree_they_were_made_of) {
    if (!test::have_mkfs()) GTEST_SKIP() << "mkfs.erofs isn't installed";
    const test::scratch_directory scratch;
    const std::string& top = scratch.path();
    test::run(
        "cd '" + top +
        "' && mkdir -p a/b/c many && seq 50000 > a/numbers && head -c 70000 /dev/urandom > a/b/random && : > a/empty "
        "&& "
        "ln -s ../x a/b/link && ln a/numbers a/b/c/hard && mkfifo a/fifo && chmod 4711 a/empty && chmod 1777 many && "
        "truncate -s 300000 a/hole && printf tail >> a/hole && : > many/-dash && : > many/+plus && : > 'many/!bang' && "
        ": > 'many/ ' && : > many/$(printf '\\351') && for i in $(seq 700); do echo $i > many/file-$i; done && "
        "touch -d '2021-02-03 04:05:06.789 UTC' a/empty");
    namespace fs = std::filesystem;
    for (const std::string options :
         {"", "--chunksize=4096", "--chunksize=65536", "-Eforce-inode-compact", "-Enoinline_data",
          "-Eforce-inode-extended -Eforce-chunk-indexes --chunksize=4096"}) {
        SCOPED_TRACE(options);
        opened image(test::mkfs(top, options));
        std::map<std::string, bool> left;
        for (const auto& entry : fs::recursive_directory_iterator(top)) left[fs::relative(entry.path(), top)] = true;
        const auto r = walk(*image.image, [&](std::string_view path, const inode& i) -> status {
            if (path.empty()) return {};
            const std::string name(path);
            EXPECT_EQ(left.erase(name), 1u) << name;
            const fs::path real = fs::path(top) / name;
            const auto status = fs::symlink_status(real);
            EXPECT_EQ(i.mode & 07777, static_cast<int>(status.permissions())) << name;
            if (i.type == file_type::symlink) {
                NEROFS_TRY(const std::string target, image.image->read_link(i));
                EXPECT_EQ(target, fs::read_symlink(real).string());
            }
            if (i.type != file_type::regular) return {};
            EXPECT_EQ(i.links, fs::hard_link_count(real)) << name;
            EXPECT_EQ(i.size, fs::file_size(real)) << name;
            std::ifstream in(real, std::ios::binary);
            const std::string expected{std::istreambuf_iterator<char>(in), {}};
            std::string content(i.size, '?');
            NEROFS_TRY(const std::size_t got, image.image->read(i, 0, std::as_writable_bytes(std::span(content))));
            EXPECT_EQ(got, i.size);
            EXPECT_TRUE(content == expected) << name;
            EXPECT_EQ(resolve(*image.image, name)->nid, i.nid);
            return {};
        });
        EXPECT_TRUE(r) << r.error().message();
        EXPECT_TRUE(left.empty()) << left.begin()->first;
        if (options != "-Eforce-inode-compact") {
            EXPECT_EQ(resolve(*image.image, "a/empty")->mtime, (timestamp{1612325106, 789000000}));
        }
    }
}

}  // namespace
}  // namespace nerofs::erofs
