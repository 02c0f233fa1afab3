// What write_index() writes, seen by the reader and held against the published layout (and its sizes).
#include "erofs/writer.h"

#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <string>

#include "erofs/ondisk.h"
#include "erofs/reader.h"
#include "erofs/tree.h"
#include "image.h"

namespace nerofs::erofs {
namespace {

struct made_inode {
    new_inode facts;
    std::string target;
    std::vector<xattr> attributes;
    std::map<std::string, std::uint32_t> names;
};

class made_tree final : public file_tree {
  public:
    made_tree() { add(file_type::directory, 0755); }

    std::uint32_t add(file_type type, std::uint16_t permissions = 0644) {
        made_inode made;
        made.facts.type = type;
        made.facts.permissions = permissions;
        made_.push_back(made);
        return static_cast<std::uint32_t>(made_.size() - 1);
    }
    std::uint32_t add_file(const std::string& name, std::uint64_t size, std::uint64_t offset) {
        const std::uint32_t made = add(file_type::regular);
        at(made).facts.size = size;
        at(made).facts.data_offset = offset;
        at(0).names[name] = made;
        return made;
    }
    made_inode& at(std::uint32_t number) { return made_[number]; }

    std::uint32_t inodes() const override { return static_cast<std::uint32_t>(made_.size()); }
    new_inode inode_at(std::uint32_t number) const override {
        new_inode facts = made_[number].facts;
        facts.target = made_[number].target;
        facts.attributes = made_[number].attributes;
        return facts;
    }
    void list(std::uint32_t directory,
              const std::function<void(std::string_view name, std::uint32_t inode)>& each) const override {
        for (const auto& [name, inode] : made_[directory].names) each(name, inode);
    }

  private:
    std::vector<made_inode> made_;
};

std::string error_of(const made_tree& tree, std::uint64_t data = 1 << 20) {
    const auto image = write_index(tree, data);
    return image ? "nothing" : image.error().message();
}

// The index with `data` behind it, as the device is.
test::memory_reader device(const index_image& index, std::uint64_t data) {
    test::bytes all = index.bytes;
    for (std::uint64_t i = 0; i < data; ++i) all.push_back(static_cast<std::byte>(i / 512 + i % 251));
    return test::memory_reader(std::move(all));
}

TEST(writer, superblock_and_device_are_as_published) {
    made_tree tree;
    tree.add_file("f", 10, 512);
    index_options options;
    options.uuid[0] = std::byte{0xc1};
    const auto index = write_index(tree, 2048, options);
    ASSERT_TRUE(index) << index.error().message();
    const auto super = check_superblock(index->bytes, index->bytes.size() + 2048, false);
    ASSERT_TRUE(super) << super.error().message();
    EXPECT_EQ(super->block_bits, 9u);
    EXPECT_EQ(super->feature_compat, ondisk::compat_checksum | ondisk::compat_mtime);
    EXPECT_EQ(super->feature_incompat, ondisk::incompat_device_table);
    EXPECT_EQ(super->primary_blocks * 512, index->bytes.size());
    EXPECT_EQ(super->meta_block, 0u);
    EXPECT_EQ(super->inodes, 2u);
    EXPECT_EQ(super->uuid[0], std::byte{0xc1});
    ASSERT_EQ(super->devices.size(), 1u);
    EXPECT_EQ(super->devices[0].blocks, 4u);
    EXPECT_EQ(super->devices[0].uniaddr, super->primary_blocks);
    EXPECT_TRUE(super->flat_devices);
    // A checksum that isn't right is refused.
    auto damaged = index->bytes;
    damaged[1024 + 0x30] ^= std::byte{1};
    EXPECT_FALSE(check_superblock(damaged, damaged.size() + 2048, false));
}

TEST(writer, files_point_to_their_data_in_one_chunk_or_as_few_as_there_can_be) {
    for (const std::uint64_t size : {1U, 511U, 512U, 513U, 1024U, 1025U, 65537U}) {
        made_tree tree;
        tree.add_file("f", size, 1024);
        const std::uint64_t data = (1024 + size + 511) / 512 * 512;
        const auto index = write_index(tree, data);
        ASSERT_TRUE(index);
        test::memory_reader bytes = device(*index, data);
        auto image = reader::open(bytes, bytes.size());
        ASSERT_TRUE(image) << image.error().message();
        const auto file = resolve(*image, "f");
        ASSERT_TRUE(file);
        unsigned bits = 9;
        while ((std::uint64_t{1} << bits) < size) ++bits;
        EXPECT_EQ(file->chunk_format, 0x20 | (bits - 9)) << size;
        std::vector<std::byte> got(size);
        ASSERT_TRUE(image->read(*file, 0, got));
        const auto* expected = bytes.content().data() + index->bytes.size() + 1024;
        EXPECT_TRUE(std::equal(got.begin(), got.end(), expected)) << size;
    }
    made_tree tree;
    tree.add_file("huge", 600ULL << 30, 512);
    EXPECT_TRUE(write_index(tree, (600ULL << 30) + 512));
    EXPECT_EQ(error_of(tree, 600ULL << 30), "member 1: a file's data isn't where it can be");
}

TEST(writer, symlinks_of_every_length) {
    made_tree tree;
    for (std::size_t length = 1; length <= 4095; ++length) {
        const std::uint32_t link = tree.add(file_type::symlink, 0777);
        for (std::size_t i = 0; i < length; ++i) tree.at(link).target += static_cast<char>('a' + (i + length) % 26);
        if (length % 3 == 0) tree.at(link).facts.uid = 70000;
        if (length % 5 == 0) tree.at(link).attributes = {{"user.n", std::string(length % 600, 'v')}};
        tree.at(0).names["l" + std::to_string(length)] = link;
    }
    const auto index = write_index(tree, 512);
    ASSERT_TRUE(index);
    test::memory_reader bytes = device(*index, 512);
    auto image = reader::open(bytes, bytes.size());
    ASSERT_TRUE(image) << image.error().message();
    std::size_t seen = 0;
    const auto walked = walk(*image, [&](std::string_view path, const inode& i) -> status {
        if (path.empty()) return {};
        const std::size_t length = std::stoul(std::string(path.substr(1)));
        const made_inode& made = tree.at(tree.at(0).names.at(std::string(path)));
        const auto target = image->read_link(i);
        EXPECT_EQ(target.value_or(""), made.target) << path;
        EXPECT_EQ(image->xattrs(i).value(), made.attributes) << path;
        EXPECT_EQ(i.uid, made.facts.uid);
        EXPECT_EQ(i.size, length);
        if (i.layout == ondisk::data_layout::flat_inline) {  // what the kernel demands of a tail
            EXPECT_LE((i.body + i.xattr_size) % 512 + i.size % 512, 512u) << path;
        }
        ++seen;
        return {};
    });
    ASSERT_TRUE(walked) << walked.error().message();
    EXPECT_EQ(seen, 4095u);
}

TEST(writer, directories_of_many_blocks_are_found_by_name) {
    made_tree tree;
    const std::uint32_t sub = tree.add(file_type::directory, 0700);
    tree.at(0).names["sub"] = sub;
    const std::vector<std::string> odd = {"!before", "-", "..x", ".a", std::string(255, '\xff'), "\x01"};
    for (const std::string& name : odd) tree.at(sub).names[name] = tree.add(file_type::fifo);
    for (int i = 0; i < 3000; ++i) {
        std::string name = "n" + std::to_string(i);
        name.resize(name.size() + static_cast<std::size_t>(i) % 200, 'x');
        tree.at(sub).names[name] = tree.add(file_type::regular);
    }
    const auto index = write_index(tree, 512);
    ASSERT_TRUE(index);
    test::memory_reader bytes = device(*index, 512);
    auto image = reader::open(bytes, bytes.size());
    ASSERT_TRUE(image);
    const auto directory = resolve(*image, "sub");
    ASSERT_TRUE(directory);
    std::vector<std::string> listed;
    ASSERT_TRUE(image->list(*directory, [&](const directory_entry& e) {
        listed.emplace_back(e.name);
        return true;
    }));
    ASSERT_EQ(listed.size(), 3000 + odd.size());
    for (const auto& [name, inode] : tree.at(sub).names) {
        const auto found = image->lookup(*directory, name);
        ASSERT_TRUE(found && *found) << name;
        EXPECT_EQ(image->read_inode(**found)->type, tree.at(inode).facts.type);
    }
    EXPECT_EQ(image->root()->links, 3u);
    EXPECT_EQ(directory->links, 2u);
}

TEST(writer, inodes_are_small_where_they_can_be) {
    made_tree tree;
    for (int i = 0; i < 10; ++i) tree.add_file("same" + std::to_string(i), 0, 0);
    for (std::uint32_t i = 0; i < tree.inodes(); ++i) tree.at(i).facts.mtime = {1600000000, 7};
    const std::uint32_t other = tree.add_file("time", 0, 0);
    tree.at(other).facts.mtime = {-5, 999999999};
    const std::uint32_t owner = tree.add_file("owner", 0, 0);
    tree.at(owner).facts.mtime = {1600000000, 7};
    tree.at(owner).facts.gid = 65536;
    const std::uint32_t dev = tree.add(file_type::block);
    tree.at(dev).facts.device_major = 4095;
    tree.at(dev).facts.device_minor = 1048575;
    tree.at(dev).facts.mtime = {1600000000, 7};
    tree.at(0).names["dev"] = dev;
    tree.at(0).names["dev2"] = dev;
    const auto index = write_index(tree, 512);
    ASSERT_TRUE(index);
    test::memory_reader bytes = device(*index, 512);
    auto image = reader::open(bytes, bytes.size());
    ASSERT_TRUE(image);
    const auto fixed_part = [&](const std::string& path) {
        const auto i = resolve(*image, path);
        return i->body - *inode_address(image->super(), i->nid);
    };
    EXPECT_EQ(fixed_part("same3"), 32u);
    EXPECT_EQ(fixed_part("time"), 64u);
    EXPECT_EQ(fixed_part("owner"), 64u);
    EXPECT_EQ(resolve(*image, "same3")->mtime, (timestamp{1600000000, 7}));
    EXPECT_EQ(resolve(*image, "time")->mtime, (timestamp{-5, 999999999}));
    EXPECT_EQ(resolve(*image, "owner")->gid, 65536u);
    const auto device_inode = resolve(*image, "dev2");
    EXPECT_EQ(device_inode->device_major, 4095u);
    EXPECT_EQ(device_inode->device_minor, 1048575u);
    EXPECT_EQ(device_inode->links, 2u);
    EXPECT_EQ(device_inode->nid, resolve(*image, "dev")->nid);
}

TEST(writer, attributes_of_every_namespace_and_size) {
    made_tree tree;
    const std::uint32_t file = tree.add_file("f", 5, 0);
    const std::vector<xattr> kept = {{"security.capability", std::string(20, '\1')},
                                     {"system.posix_acl_access", std::string(28, '\2')},
                                     {"system.posix_acl_default", ""},
                                     {"trusted.overlay.opaque", "y"},
                                     {"user.big", std::string(65535, 'b')},
                                     {"user.empty", ""}};
    tree.at(file).attributes = kept;
    tree.at(file).attributes.insert(tree.at(file).attributes.begin(), {"com.apple.provenance", "x"});
    tree.at(0).attributes = {{"user.root", std::string(700, 'r')}};
    const auto index = write_index(tree, 512);
    ASSERT_TRUE(index);
    EXPECT_EQ(index->dropped_attributes, 1u);
    test::memory_reader bytes = device(*index, 512);
    auto image = reader::open(bytes, bytes.size());
    ASSERT_TRUE(image);
    EXPECT_EQ(image->xattrs(*resolve(*image, "f")).value(), kept);
    EXPECT_EQ(image->xattrs(*image->root()).value(), tree.at(0).attributes);
    std::vector<std::byte> data(5);
    EXPECT_EQ(image->read(*resolve(*image, "f"), 0, data).value(), 5u);
    EXPECT_EQ(data[4], std::byte{4});

    tree.at(file).attributes = {{"user.big", std::string(65536, 'b')}};
    EXPECT_EQ(error_of(tree), "member 1: an extended attribute is too long (8 bytes of name, 65536 of value)");
    tree.at(file).attributes.clear();
    for (char c = 'a'; c <= 'e'; ++c)
        tree.at(file).attributes.push_back({std::string("user.") + c, std::string(60000, c)});
    EXPECT_EQ(error_of(tree), "member 1: has more extended attributes than an EROFS inode has room for");
}

TEST(writer, what_is_no_tree_is_refused) {
    made_tree twice;
    const std::uint32_t sub = twice.add(file_type::directory);
    twice.at(0).names = {{"a", sub}, {"b", sub}};
    EXPECT_EQ(error_of(twice), "inode 1: a directory with two names");
    for (const std::string& name :
         {std::string(".."), std::string("a/b"), std::string(256, 'n'), std::string("a\0", 2)}) {
        made_tree named;
        named.at(0).names[name] = named.add(file_type::fifo);
        EXPECT_EQ(error_of(named), "a name that can't be in a directory, or out of order");
    }
    made_tree missing;
    missing.at(0).names["x"] = 7;
    EXPECT_EQ(error_of(missing), "a name that can't be in a directory, or out of order");
    made_tree loop;
    loop.at(0).names["x"] = 0;
    EXPECT_EQ(error_of(loop), "a name that can't be in a directory, or out of order");
    made_tree link;
    link.at(0).names["x"] = link.add(file_type::symlink);
    EXPECT_EQ(error_of(link), "member 1: a symlink's target has 1 to 4095 bytes");
    made_tree unaligned;
    unaligned.add_file("f", 10, 100);
    EXPECT_EQ(error_of(unaligned), "member 1: a file's data isn't where it can be");
}

// The flat address space: the image, and each device filled up to whole blocks.
TEST(writer, several_devices_lie_behind_each_other) {
    const std::vector<std::string> contents = {std::string(1000, 'a') + std::string(24, 'A'), "", std::string(5, 'c'),
                                               std::string(3000, 'd')};
    for (const std::size_t count : {std::size_t{1}, std::size_t{4}, std::size_t{40}}) {
        made_tree tree;
        std::vector<std::uint64_t> sizes;
        for (std::size_t i = 0; i < count; ++i) {
            sizes.push_back(contents[i % 4].size());
            if (sizes.back() > 0)
                tree.at(tree.add_file("f" + std::to_string(i), sizes[i], 0)).facts.device =
                    static_cast<std::uint32_t>(i);
        }
        const auto index = write_index(tree, sizes);
        ASSERT_TRUE(index) << index.error().message();
        test::bytes flat = index->bytes;
        std::vector<std::uint64_t> starts;
        for (std::size_t i = 0; i < count; ++i) {
            starts.push_back(flat.size() / 512);
            for (const char c : contents[i % 4]) flat.push_back(static_cast<std::byte>(c));
            flat.resize((flat.size() + 511) / 512 * 512);
        }
        test::memory_reader bytes(flat);
        auto image = reader::open(bytes, bytes.size());
        ASSERT_TRUE(image) << image.error().message();
        ASSERT_EQ(image->super().devices.size(), count);
        // The same by devices that are given.
        test::memory_reader metadata(index->bytes);
        std::vector<std::unique_ptr<test::memory_reader>> readers;
        std::vector<byte_reader*> devices;
        for (std::size_t i = 0; i < count; ++i) {
            const std::string& c = contents[i % 4];
            const auto* begin = reinterpret_cast<const std::byte*>(c.data());
            readers.push_back(std::make_unique<test::memory_reader>(test::bytes(begin, begin + c.size())));
            devices.push_back(readers.back().get());
        }
        auto by_device = reader::open(metadata, metadata.size(), devices);
        ASSERT_TRUE(by_device) << by_device.error().message();
        for (std::size_t i = 0; i < count; ++i) {
            EXPECT_EQ(image->super().devices[i].uniaddr, starts[i]) << i;
            EXPECT_EQ(image->super().devices[i].blocks, (sizes[i] + 511) / 512) << i;
            if (sizes[i] == 0) continue;
            for (reader* r : {&*image, &*by_device}) {
                const auto file = resolve(*r, "f" + std::to_string(i));
                ASSERT_TRUE(file);
                std::string got(sizes[i], '-');
                ASSERT_TRUE(r->read(*file, 0, std::as_writable_bytes(std::span(got))));
                EXPECT_EQ(got, contents[i % 4]);
            }
            EXPECT_EQ(by_device->map(*resolve(*by_device, "f" + std::to_string(i)), 0)->device, i + 1);
        }
    }
    made_tree beyond;
    beyond.at(beyond.add_file("f", 512, 512)).facts.device = 1;
    EXPECT_TRUE(write_index(beyond, std::vector<std::uint64_t>{512, 1024}));
    for (const auto& sizes : {std::vector<std::uint64_t>{4096}, std::vector<std::uint64_t>{4096, 1023}, {}}) {
        EXPECT_EQ(write_index(beyond, sizes).error().message(), "member 1: a file's data isn't where it can be");
    }
    EXPECT_EQ(write_index(beyond, std::vector<std::uint64_t>(4097, 1024)).error().message(),
              "4097 devices are too many for one index");
    EXPECT_EQ(write_index(beyond, std::vector<std::uint64_t>(3, 1ULL << 39)).error().message(),
              "549755813888 bytes are too many for one index");
}

TEST(writer, what_no_directory_names_is_not_written) {
    made_tree tree;
    tree.add_file("f", 0, 0);
    const auto without = write_index(tree, 512);
    tree.add(file_type::regular);
    const auto with = write_index(tree, 512);
    ASSERT_TRUE(with && without);
    EXPECT_TRUE(with->bytes == without->bytes);
    EXPECT_EQ(with->inodes, 2u);
}

}  // namespace
}  // namespace nerofs::erofs
