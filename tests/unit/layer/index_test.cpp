// Archives that real tars wrote, indexed: against what GNU tar extracts, what the peer's index says, and what this
// machine's kernel shows.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <fstream>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "erofs/reader.h"
#include "erofs/tree.h"
#include "erofs/writer.h"
#include "image.h"
#include "layer/tar_reader.h"
#include "layer/tree.h"

namespace nerofs::layer {
namespace {

using namespace test;

const std::string samples = NEROFS_TEST_DATA "/samples/";

struct made_index {
    std::string bytes;
    std::uint64_t tar_bytes = 0;
};

// As a caller would: the tar in pieces, the tree, the index. `at_epoch` says all times are 0, as the samples have them.
made_index index_of(const std::string& tar, bool at_epoch = false, std::size_t piece = 100000) {
    tree members;
    tar_reader reader([&](tar_entry&& e) {
        if (at_epoch) e.mtime = {};
        return members.add(std::move(e));
    });
    for (std::size_t at = 0; at < tar.size(); at += piece) {
        const auto pushed = reader.push(bytes_of(std::string_view(tar).substr(at, piece)));
        if (!pushed) throw std::runtime_error(pushed.error().message());
    }
    if (const auto finished = reader.finish(); !finished) throw std::runtime_error(finished.error().message());
    if (const auto finished = members.finish(); !finished) throw std::runtime_error(finished.error().message());
    const auto index = erofs::write_index(members, reader.archive_bytes());
    if (!index) throw std::runtime_error(index.error().message());
    return {{reinterpret_cast<const char*>(index->bytes.data()), index->bytes.size()}, reader.archive_bytes()};
}

// One line a name, with everything that can be seen of it but its data, and that by itself.
struct shown_tree {
    std::map<std::string, std::string> lines;
    std::map<std::string, std::string> data;
    std::map<std::string, std::set<std::string>> links;  // names of one inode, by the first
};

struct facts {
    unsigned mode = 0;
    std::uint64_t uid = 0, gid = 0, links = 0, size = 0;
    std::int64_t seconds = 0;
    std::uint64_t nanoseconds = 0;
    unsigned device_major = 0, device_minor = 0;
};

std::string line_of(const facts& f, bool is_directory, const std::string& target,
                    const std::map<std::string, std::string>& attributes) {
    std::string line = std::to_string(f.mode) + " " + std::to_string(f.uid) + ":" + std::to_string(f.gid) + " n" +
                       std::to_string(f.links) + " s" + (is_directory ? "*" : std::to_string(f.size)) + " t" +
                       std::to_string(f.seconds) + "." + std::to_string(f.nanoseconds) + " d" +
                       std::to_string(f.device_major) + "," + std::to_string(f.device_minor) + " " + target;
    for (const auto& [name, value] : attributes) line += " " + name + "=" + value;
    return line;
}

shown_tree tree_of_image(const std::string& content) {
    shown_tree out;
    erofs::memory_reader bytes(bytes_of(content));
    auto image = erofs::reader::open(bytes, bytes.size());
    if (!image) throw std::runtime_error(image.error().message());
    std::map<std::uint64_t, std::set<std::string>> names_of;
    const auto walked = erofs::walk(*image, [&](std::string_view path, const erofs::inode& i) -> status {
        const std::string name(path);
        std::map<std::string, std::string> attributes;
        NEROFS_TRY(const std::vector<erofs::xattr> found, image->xattrs(i));
        for (const erofs::xattr& a : found) attributes[a.name] = a.value;
        std::string target;
        if (i.type == erofs::file_type::symlink) {
            NEROFS_TRY(target, image->read_link(i));
        }
        const facts f{i.mode,         i.uid,         i.gid, i.links, i.size, i.mtime.seconds, i.mtime.nanoseconds,
                      i.device_major, i.device_minor};
        out.lines[name] = line_of(f, i.type == erofs::file_type::directory, target, attributes);
        names_of[i.nid].insert(name);
        if (i.type == erofs::file_type::regular) {
            std::string& data = out.data[name];
            data.resize(i.size);
            NEROFS_TRY(const std::size_t got, image->read(i, 0, std::as_writable_bytes(std::span(data))));
            EXPECT_EQ(got, i.size);
        }
        return {};
    });
    if (!walked) throw std::runtime_error(walked.error().message());
    for (const auto& [inode, all] : names_of) out.links[*all.begin()] = all;
    return out;
}

std::map<std::string, std::string> attributes_of(const std::string& path) {
    std::map<std::string, std::string> out;
    std::string names(1 << 16, '\0');
    const ssize_t length = ::llistxattr(path.c_str(), names.data(), names.size());
    for (std::size_t at = 0; length > 0 && at < static_cast<std::size_t>(length);) {
        const std::string name = names.c_str() + at;
        at += name.size() + 1;
        std::string value(1 << 16, '\0');
        const ssize_t bytes = ::lgetxattr(path.c_str(), name.c_str(), value.data(), value.size());
        value.resize(bytes > 0 ? static_cast<std::size_t>(bytes) : 0);
        out[name] = value;
    }
    return out;
}

// What lies below a directory, as the kernel tells it.
shown_tree tree_on_disk(const std::string& top) {
    shown_tree out;
    std::vector<std::string> names{""};
    for (const auto& entry : std::filesystem::recursive_directory_iterator(top)) {
        names.push_back(entry.path().string().substr(top.size() + 1));
    }
    std::sort(names.begin(), names.end());
    std::map<std::uint64_t, std::set<std::string>> names_of;
    for (const std::string& name : names) {
        const std::string path = name.empty() ? top : top + "/" + name;
        struct stat s {};
        if (::lstat(path.c_str(), &s) != 0) throw std::runtime_error("lstat " + path);
        std::string target;
        if (S_ISLNK(s.st_mode)) target = std::filesystem::read_symlink(path);
        const bool device = S_ISCHR(s.st_mode) || S_ISBLK(s.st_mode);
        const facts f{s.st_mode,
                      s.st_uid,
                      s.st_gid,
                      s.st_nlink,
                      static_cast<std::uint64_t>(s.st_size),
                      s.st_mtim.tv_sec,
                      static_cast<std::uint64_t>(s.st_mtim.tv_nsec),
                      device ? major(s.st_rdev) : 0,
                      device ? minor(s.st_rdev) : 0};
        out.lines[name] = line_of(f, S_ISDIR(s.st_mode), target, attributes_of(path));
        names_of[s.st_ino].insert(name);
        if (S_ISREG(s.st_mode)) out.data[name] = file_content(path);
    }
    for (const auto& [inode, all] : names_of) out.links[*all.begin()] = all;
    return out;
}

void expect_same(const shown_tree& ours, const shown_tree& theirs) {
    for (const auto& [name, line] : theirs.lines) {
        const auto found = ours.lines.find(name);
        EXPECT_TRUE(found != ours.lines.end() && found->second == line)
            << name << "\n  ours:   " << (found == ours.lines.end() ? "nothing" : found->second)
            << "\n  theirs: " << line;
    }
    EXPECT_EQ(ours.lines.size(), theirs.lines.size());
    EXPECT_EQ(ours.links, theirs.links);
    EXPECT_TRUE(ours.data == theirs.data);
}

bool root() {
    return ::geteuid() == 0;
}

// A tree of what images hold, at `top`.
void make_tree(const std::string& top) {
    std::string script = "set -e; umask 022; cd '" + top + "'; mkdir -p a/b/c d deep; ";
    script += "for i in 0 1 511 512 513 4096 65537 300000; do head -c $i /dev/urandom > a/f$i; done; ";
    script += "for i in $(seq 200); do echo $i > d/file-of-some-length-$i; done; ";
    script += "ln a/f513 a/b/hard; ln a/f513 d/zz-hard; ln -s ../f1 a/b/sym; ln -s /nowhere dangling; ";
    script += "ln -s $(printf %0600d 0) longsym; mkfifo fifo; chmod 4755 a/f512; chmod 1777 d; ";
    script += "printf x > $(printf 'n%.0s' $(seq 90)); touch \"$(printf 'bad\\377utf8')\"; ";
    script += "mkdir -p deep/$(printf 'p%.0s' $(seq 80))/$(printf 'q%.0s' $(seq 60)); ";
    script += "printf y > deep/$(printf 'p%.0s' $(seq 80))/$(printf 'q%.0s' $(seq 60))/leaf; ";
    if (root()) {
        script += "mknod null c 1 3; mknod blk b 259 70; chown 1000:1001 a/f1; chown 12:34 d; chown -h 7:8 dangling; ";
    }
    script += "find . -exec touch -h -d @1600000000 {} +; touch -d @1500000000 a/f1; ";
    run("sh -c '" +
        [&] {
            std::string quoted;
            for (const char c : script) quoted += c == '\'' ? "'\\''" : std::string(1, c);
            return quoted;
        }() +
        "'");
}

std::string beside(const std::string& index, const std::string& tar) {
    return index + tar;
}

TEST(index, of_all_of_tars_formats_is_what_tar_extracts) {
    for (const std::string& format :
         {std::string("ustar"), std::string("gnu"), std::string("pax"), std::string("v7")}) {
        SCOPED_TRACE(format);
        const scratch_directory scratch;
        const std::string tree = scratch.path() + "/tree";
        const std::string out = scratch.path() + "/out";
        run("mkdir '" + tree + "' '" + out + "'");
        make_tree(tree);
        std::string options = "--format=" + format;
        // v7 has neither devices nor long names, ustar no targets of more than 100 bytes.
        if (format == "v7" || format == "ustar") run("rm -f '" + tree + "/longsym'");
        if (format == "v7") run("cd '" + tree + "' && rm -rf deep null blk fifo");
        if (format == "pax") {
            run("touch -d @1600000001.123456789 '" + tree + "/a/f0' && touch -d @1599999999.5 '" + tree + "/d'");
            // Not every file system has these; what there is must be the same on both sides.
            const std::string big(3000, 'b');
            const std::string file = tree + "/a/f4096";
            (void)::setxattr(file.c_str(), "user.note", "hello", 5, 0);
            (void)::setxattr(file.c_str(), "user.big", big.data(), big.size(), 0);
            options += " --xattrs --xattrs-include='*'";
        }
        const std::string tar = scratch.path() + "/tar";
        run("tar -C '" + tree + "' " + options + " --sort=name -cf '" + tar + "' .");
        const std::string extract = std::string("tar -C '") + out + "' --xattrs --xattrs-include='*' -p " +
                                    (root() ? "--numeric-owner --same-owner " : "") + "-xf '" + tar + "'";
        run(extract);
        const std::string content = file_content(tar);
        const made_index index = index_of(content);
        shown_tree theirs = tree_on_disk(out);
        expect_same(tree_of_image(beside(index.bytes, content)), theirs);
        if (format == "pax") {
            EXPECT_NE(theirs.lines.at("a/f0").find("t1600000001.123456789"), std::string::npos);
        }
        for (const std::size_t piece : {511U, 4096U}) {
            EXPECT_TRUE(index_of(content, false, piece).bytes == index.bytes);  // deterministic, whatever the pieces
        }
    }
}

TEST(index, agrees_with_the_peers_entry_by_entry) {
    for (const std::string name : {"pax", "gnu"}) {
        SCOPED_TRACE(name);
        const scratch_directory scratch;
        run("gzip -dc '" + samples + name + ".tar.gz' > '" + scratch.path() + "/tar'");
        const std::string tar = file_content(scratch.path() + "/tar");
        const std::string peers = file_content(samples + name + ".tarindex");
        const made_index ours = index_of(tar, true);
        expect_same(tree_of_image(beside(ours.bytes, tar)), tree_of_image(beside(peers, tar)));

        // Where the format leaves no choice: the device, and every chunk of every file.
        const std::string our_device = beside(ours.bytes, tar);
        const std::string their_device = beside(peers, tar);
        erofs::memory_reader our_bytes(bytes_of(our_device));
        erofs::memory_reader their_bytes(bytes_of(their_device));
        auto our_image = erofs::reader::open(our_bytes, our_bytes.size());
        auto their_image = erofs::reader::open(their_bytes, their_bytes.size());
        ASSERT_TRUE(our_image && their_image);
        EXPECT_EQ(our_image->super().devices[0].blocks, their_image->super().devices[0].blocks);
        EXPECT_EQ(our_image->super().devices[0].uniaddr * 512, ours.bytes.size());
        EXPECT_EQ(our_image->super().inodes, their_image->super().inodes);
        EXPECT_EQ(our_image->super().feature_incompat, their_image->super().feature_incompat);
        EXPECT_EQ(our_image->super().epoch, 0);
        // Of the peer's superblock all but the sum, its xattr filter, the root's and the image's place are ours, too.
        std::string super = ours.bytes.substr(1024, 128);
        std::string theirs = peers.substr(1024, 128);
        for (const auto& [at, length] :
             std::map<std::size_t, std::size_t>{{4, 4}, {8, 4}, {14, 2}, {36, 4}, {48, 16}}) {
            super.replace(at, length, length, '-');
            theirs.replace(at, length, length, '-');
        }
        EXPECT_TRUE(super == theirs);
        EXPECT_TRUE(ours.bytes.substr(1152, 68) == peers.substr(1152, 68));  // the device's tag and blocks
        EXPECT_TRUE(ours.bytes.substr(1224, 56) == peers.substr(1224, 56));  // and what is behind its place
        std::size_t files = 0;
        const auto walked = erofs::walk(*our_image, [&](std::string_view path, const erofs::inode& i) -> status {
            if (path.empty()) return {};
            NEROFS_TRY(const erofs::inode other, erofs::resolve(*their_image, path, erofs::last_symlink::keep));
            EXPECT_EQ(i.layout, i.type == erofs::file_type::directory ? i.layout : other.layout) << path;
            EXPECT_EQ(i.chunk_format, other.chunk_format) << path;
            if (i.type != erofs::file_type::regular || i.size == 0) return {};
            NEROFS_TRY(const erofs::extent ours_at, our_image->map(i, 0));
            NEROFS_TRY(const erofs::extent theirs_at, their_image->map(other, 0));
            EXPECT_EQ(ours_at.address - ours.bytes.size(), theirs_at.address - peers.size()) << path;
            ++files;
            return {};
        });
        ASSERT_TRUE(walked) << walked.error().message();
        EXPECT_GT(files, 70u);
        EXPECT_LE(ours.bytes.size(), peers.size() + 1024) << "the index grew";
    }
}

TEST(index, tars_own_sparse_files_are_refused) {
    for (const std::string& format : {std::string("gnu"), std::string("pax")}) {
        const scratch_directory scratch;
        run("cd '" + scratch.path() + "' && truncate -s 1M holes && printf x >> holes && tar --format=" + format +
            " --sparse -cf tar holes");
        const reading r = read_tar(file_content(scratch.path() + "/tar"));
        ASSERT_FALSE(r.outcome) << format;
        EXPECT_EQ(r.outcome.error().message(),
                  "'holes': is a GNU sparse file, which an index can't point into; write the archive without --sparse");
    }
}

TEST(index, this_kernel_shows_what_tar_extracts) {
    if (!root()) GTEST_SKIP() << "needs root to mount";
    const scratch_directory scratch;
    const std::string& top = scratch.path();
    run("mkdir '" + top + "/tree' '" + top + "/out' '" + top + "/mnt'");
    make_tree(top + "/tree");
    run("touch -d @1600000001.123456789 '" + top + "/tree/a/f0'");
    run("tar -C '" + top + "/tree' --format=pax -cf '" + top + "/tar' . && tar -C '" + top +
        "/out' --numeric-owner --same-owner -p -xf '" + top + "/tar'");
    const std::string tar = file_content(top + "/tar");
    const made_index index = index_of(tar);
    std::ofstream(top + "/image", std::ios::binary) << beside(index.bytes, tar);
    // In a mount namespace of its own, so that nothing is left whatever happens: the kernel's view is taken there.
    const std::string mount =
        "unshare -m sh -c 'mount -t erofs -o ro \"$0/image\" \"$0/mnt\" 2>\"$0/why\" && cp -a \"$0/mnt\" "
        "\"$0/seen\"' '" +
        top + "'";
    if (std::system(mount.c_str()) != 0)
        GTEST_SKIP() << "this kernel can't mount the file: " << file_content(top + "/why");
    expect_same(tree_on_disk(top + "/seen"), tree_on_disk(top + "/out"));
}

}  // namespace
}  // namespace nerofs::layer
