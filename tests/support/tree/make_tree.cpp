// make_tree [--seed N] [--longest-name BYTES] DIR: fills the empty or missing directory DIR with a tree that has most
// of what an EROFS image can hold. The same seed gives the same tree, times included. What the file system or the
// caller's privileges refuse (user.* attributes on an old tmpfs, devices without root) is left out and counted on
// stderr. The longest name is of 255 bytes; mkfs.erofs 1.5 cuts that (and stops with ENOENT), so images by it need 254.
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstdint>
#include <cstring>
#include <iostream>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace {

[[noreturn]] void fail(const std::string& what, const std::string& path) {
    std::cerr << "make_tree: " << path << ": " << what << ": " << std::strerror(errno) << '\n';
    std::exit(1);
}

// splitmix64 (public domain, Sebastiano Vigna): the standard engines are as good, but their distributions differ
// between libraries.
class random_source {
  public:
    explicit random_source(std::uint64_t seed) : state_(seed) {}

    std::uint64_t next() {
        state_ += 0x9e3779b97f4a7c15;
        std::uint64_t z = state_;
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
        z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
        return z ^ (z >> 31);
    }
    std::uint64_t below(std::uint64_t bound) { return next() % bound; }

  private:
    std::uint64_t state_;
};

enum class content { zeros, text, noise, mixed };
constexpr std::array all_contents{content::zeros, content::text, content::noise, content::mixed};

std::string_view name_of(content kind) {
    switch (kind) {
        case content::zeros:
            return "zeros";
        case content::text:
            return "text";
        case content::noise:
            return "noise";
        case content::mixed:
            return "mixed";
    }
    return "";
}

std::string make_content(content kind, std::size_t size, random_source& random) {
    static constexpr std::array<std::string_view, 16> words{"block",  "cluster", "inode", "extent", "mount", "reader",
                                                            "the",    "of",      "and",   "layer",  "blob",  "digest",
                                                            "offset", "index",   "cache", "page"};
    std::string bytes;
    bytes.reserve(size + 16);
    while (bytes.size() < size) {
        // Mixed content alternates in runs of 16 KiB, so that compressed and plain extents meet within one file.
        const bool noise = kind == content::noise || (kind == content::mixed && (bytes.size() >> 14) % 2 == 1);
        if (kind == content::zeros) {
            bytes.resize(size);
        } else if (noise) {
            const std::uint64_t value = random.next();
            bytes.append(reinterpret_cast<const char*>(&value), sizeof value);
        } else {
            bytes += words[random.below(words.size())];
            bytes += random.below(12) == 0 ? '\n' : ' ';
        }
    }
    bytes.resize(size);
    return bytes;
}

struct attributes {
    mode_t mode = 0644;
    uid_t uid = 0;
    gid_t gid = 0;
};

class tree_builder {
  public:
    tree_builder(std::string root, std::uint64_t seed, std::size_t longest_name)
        : root_(std::move(root)), random_(seed), longest_name_(longest_name) {}

    void build();

  private:
    std::string full(const std::string& path) const { return path.empty() ? root_ : root_ + '/' + path; }
    random_source& random() { return random_; }

    void directory(const std::string& path, attributes attrs = {.mode = 0755});
    void file(const std::string& path, std::string_view bytes, attributes attrs = {});
    void symlink_to(const std::string& target, const std::string& path);
    void hard_link(const std::string& existing, const std::string& path);
    void node(const std::string& path, mode_t mode, dev_t device);
    void socket_node(const std::string& path);
    void xattr(const std::string& path, const std::string& name, std::string_view value);
    void set_owner(const std::string& path, attributes attrs, bool is_symlink = false);
    void set_time(const std::string& path, std::int64_t seconds);
    void set_some_time(const std::string& path) {
        set_time(path, 1'600'000'000 + std::int64_t(random_.below(1u << 26)));
    }
    void skipped(const std::string& what) { ++skipped_[what + ": " + std::strerror(errno)]; }

    void sizes();
    void large();
    void wide();
    void nested();
    void deep();
    void names();
    void links();
    void special();
    void owners_and_modes();
    void xattrs();
    void acls();
    void sparse();
    void times();

    std::string root_;
    random_source random_;
    std::size_t longest_name_;
    std::vector<std::string> directories_;
    std::map<std::string, unsigned> skipped_;
};

void tree_builder::set_owner(const std::string& path, attributes attrs, bool is_symlink) {
    // chmod after chown, which clears setuid.
    if (lchown(full(path).c_str(), attrs.uid, attrs.gid) != 0) skipped("owner");
    if (!is_symlink && chmod(full(path).c_str(), attrs.mode) != 0) fail("chmod", path);
}

void tree_builder::set_time(const std::string& path, std::int64_t seconds) {
    const std::array<timespec, 2> times{timespec{seconds, 0}, timespec{seconds, 123'456'789}};
    if (utimensat(AT_FDCWD, full(path).c_str(), times.data(), AT_SYMLINK_NOFOLLOW) != 0) fail("utimensat", path);
}

void tree_builder::directory(const std::string& path, attributes attrs) {
    if (mkdir(full(path).c_str(), 0700) != 0) fail("mkdir", path);
    set_owner(path, attrs);
    directories_.push_back(path);  // its time is set last: entries that come change it
}

void tree_builder::file(const std::string& path, std::string_view bytes, attributes attrs) {
    const int fd = open(full(path).c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0) fail("create", path);
    while (!bytes.empty()) {
        const ssize_t count = write(fd, bytes.data(), bytes.size());
        if (count < 0) fail("write", path);
        bytes.remove_prefix(static_cast<std::size_t>(count));
    }
    close(fd);
    set_owner(path, attrs);
    set_some_time(path);
}

void tree_builder::symlink_to(const std::string& target, const std::string& path) {
    if (symlink(target.c_str(), full(path).c_str()) != 0) {
        if (errno == ENAMETOOLONG) return skipped("symlink");  // XFS stops at 1024 bytes
        fail("symlink", path);
    }
    set_owner(path, {}, true);
    set_some_time(path);
}

void tree_builder::hard_link(const std::string& existing, const std::string& path) {
    if (link(full(existing).c_str(), full(path).c_str()) != 0) fail("link", path);
}

void tree_builder::node(const std::string& path, mode_t mode, dev_t device) {
    if (mknod(full(path).c_str(), mode, device) != 0) return skipped("mknod");
    set_owner(path, {.mode = static_cast<mode_t>(mode & 07777)});
    set_some_time(path);
}

void tree_builder::socket_node(const std::string& path) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    const std::string name = full(path);
    if (name.size() >= sizeof address.sun_path) {
        errno = ENAMETOOLONG;
        return skipped("socket");
    }
    name.copy(address.sun_path, name.size());
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) fail("socket", path);
    close(fd);
    set_owner(path, {.mode = 0666});
    set_some_time(path);
}

void tree_builder::xattr(const std::string& path, const std::string& name, std::string_view value) {
    if (lsetxattr(full(path).c_str(), name.c_str(), value.data(), value.size(), 0) != 0)
        skipped(name.substr(0, name.find('.')) + ".*");
}

// Around every boundary of sectors, blocks, and compressed clusters.
void tree_builder::sizes() {
    directory("sizes");
    static constexpr std::array<std::size_t, 23> around{0,     1,     100,   511,    512,    513,    4095,  4096,
                                                        4097,  8191,  8192,  8193,   12288,  16383,  16385, 32768,
                                                        65535, 65536, 65537, 131071, 131072, 131073, 262145};
    for (const content kind : all_contents) {
        for (const std::size_t size : around) {
            file("sizes/" + std::string(name_of(kind)) + '-' + std::to_string(size),
                 make_content(kind, size, random()));
        }
    }
}

void tree_builder::large() {
    directory("large");
    for (const content kind : all_contents) {
        for (const std::size_t mebibytes : {1u, 2u, 4u}) {
            const std::size_t size = (mebibytes << 20) + random().below(5000);
            file("large/" + std::string(name_of(kind)) + '-' + std::to_string(mebibytes),
                 make_content(kind, size, random()));
        }
    }
    file("large/mixed-8", make_content(content::mixed, 8u << 20, random()));
    const std::string copied = make_content(content::mixed, 1u << 20, random());
    file("large/copy-1", copied);
    file("large/copy-2", copied);
    file("large/copy-3", "shifted by some bytes: " + copied);
}

void tree_builder::wide() {
    directory("wide");
    for (unsigned i = 0; i < 1500; ++i) {
        file("wide/entry-" + std::to_string(i * 7919 % 1500),
             make_content(content::text, random().below(200), random()));
    }
}

// 6 * 6 * 6 directories of files with the sizes of ordinary ones: many small, few large.
void tree_builder::nested() {
    directory("nested");
    for (const char a : std::string_view("abcdef")) {
        const std::string first = std::string("nested/") + a;
        directory(first);
        for (const char b : std::string_view("ghijkl")) {
            const std::string second = first + '/' + b;
            directory(second);
            for (const char c : std::string_view("mnopqr")) {
                const std::string third = second + '/' + c;
                directory(third, {.mode = 0755, .uid = 1000, .gid = 1000});
                for (unsigned i = 0; i < 15; ++i) {
                    const content kind = random().below(4) == 0 ? content::noise : content::text;
                    const std::uint64_t limit = 1ull << (4 + random().below(12));
                    file(third + "/file" + std::to_string(i), make_content(kind, random().below(limit), random()),
                         {.mode = i % 5 == 0 ? 0755u : 0644u, .uid = 1000, .gid = 1000});
                }
            }
        }
    }
}

void tree_builder::deep() {
    std::string path = "deep";
    directory(path);
    for (unsigned level = 0; level < 40; ++level) {
        path += "/level-" + std::to_string(level);
        directory(path);
        file(path + "/here", "level " + std::to_string(level) + '\n');
    }
    directory("empty");
    for (unsigned i = 0; i < 8; ++i) directory("empty/" + std::to_string(i));
    directory("empty/7/inside");
}

void tree_builder::names() {
    directory("names");
    const std::vector<std::string> names{
        std::string(longest_name_, 'n'),
        std::string(longest_name_ - 1, 'n') + 'm',
        "a",
        "with space",
        " leading and trailing ",
        "new\nline",
        "tab\tand\\backslash",
        "quote'and\"double",
        "-dash",
        "...",
        ".hidden",
        "star*?[x]",
        "percent%20",
        "\x01\x02\x7f",
        "latin1-\xe9",
        "\xc3\xa9t\xc3\xa9",                     // été, composed
        "e\xcc\x81te\xcc\x81",                   // été, decomposed: another name
        "\xe6\x97\xa5\xe6\x9c\xac\xe8\xaa\x9e",  // three CJK characters
        "\xf0\x9f\x90\xa7",                      // beyond the 16-bit plane
        "\xd0\xb8\xd0\xbc\xd1\x8f",              // Cyrillic
        "Case",
        "case",
        "CASE",
    };
    for (const std::string& name : names) file("names/" + name, name);
    std::string utf8;
    while (utf8.size() + 3 <= longest_name_) utf8 += "\xe6\x97\xa5";
    directory("names/" + utf8);
    file("names/" + utf8 + "/inside\nit", "x");
}

void tree_builder::links() {
    directory("links");
    file("links/target", "target of links\n");
    symlink_to("target", "links/relative");
    symlink_to("/etc/passwd", "links/absolute");
    symlink_to("../large/text-1", "links/upwards");
    symlink_to("nowhere", "links/dangling");
    symlink_to("loop", "links/loop");
    symlink_to("../nested", "links/directory");
    symlink_to(".", "links/dot");
    for (const std::size_t length : {1u, 59u, 60u, 255u, 1023u, 4000u, 4095u}) {
        symlink_to(std::string(length, 't'), "links/length-" + std::to_string(length));
    }
    hard_link("links/target", "links/hard-1");
    hard_link("links/target", "links/hard-2");
    hard_link("links/target", "nested/a/g/m/hard-3");
    hard_link("large/noise-1", "links/hard-large");
    hard_link("links/dangling", "links/hard-symlink");
    for (unsigned i = 0; i < 50; ++i) {
        const std::string number = std::to_string(i);
        hard_link("wide/entry-" + number, "links/wide-" + number);
    }
}

void tree_builder::special() {
    directory("special");
    node("special/null", S_IFCHR | 0666, makedev(1, 3));
    node("special/large-minor", S_IFCHR | 0600, makedev(10, 70'000));
    node("special/large-major", S_IFBLK | 0640, makedev(259, 1'000'000));
    node("special/disk", S_IFBLK | 0660, makedev(8, 17));
    node("special/whiteout", S_IFCHR, makedev(0, 0));
    node("special/fifo", S_IFIFO | 0622, 0);
    socket_node("special/socket");
}

void tree_builder::owners_and_modes() {
    directory("modes");
    for (const mode_t mode : {0u, 0111u, 0400u, 0444u, 0640u, 0777u, 01644u, 02755u, 04755u, 06711u, 07777u}) {
        file("modes/file-" + std::to_string(mode), "mode\n", {.mode = mode});
    }
    for (const mode_t mode : {0u, 0500u, 01777u, 02775u, 07700u}) {
        directory("modes/directory-" + std::to_string(mode), {.mode = mode});
    }
    for (const std::uint32_t id : {1u, 1000u, 65534u, 65535u, 65536u, 100'000u, 2'147'483'648u, 4'294'967'294u}) {
        file("modes/uid-" + std::to_string(id), "owner\n", {.mode = 0600, .uid = id, .gid = id / 2});
    }
    directory("modes/owned", {.mode = 0750, .uid = 70'000, .gid = 80'000});
}

void tree_builder::xattrs() {
    directory("xattrs");
    file("xattrs/empty-value", "x");
    xattr("xattrs/empty-value", "user.empty", "");
    file("xattrs/binary-value", "x");
    xattr("xattrs/binary-value", "user.binary", std::string_view("\0\xff\n\"=", 5));
    file("xattrs/large-value", "x");
    xattr("xattrs/large-value", "user.large", make_content(content::noise, 2500, random()));
    file("xattrs/long-name", "x");
    xattr("xattrs/long-name", "user." + std::string(250, 'n'), "v");
    file("xattrs/many", make_content(content::text, 5000, random()));
    for (unsigned i = 0; i < 30; ++i)
        xattr("xattrs/many", "user.key" + std::to_string(i), "value " + std::to_string(i));
    file("xattrs/trusted", "x");
    xattr("xattrs/trusted", "trusted.nerofs", "for root alone");
    xattr("xattrs/trusted", "user.beside", "trusted");
    file("xattrs/no-content", "");
    xattr("xattrs/no-content", "user.alone", "here");
    // VFS_CAP_REVISION_2 with the effective bit, CAP_NET_BIND_SERVICE and CAP_NET_RAW permitted (linux/capability.h).
    file("xattrs/capability", "#!/bin/sh\n", {.mode = 0755});
    xattr("xattrs/capability", "security.capability",
          std::string_view("\x01\x00\x00\x02\x00\x24\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00", 20));
    // The same pairs on many inodes: mkfs.erofs stores them once, as shared attributes.
    for (unsigned i = 0; i < 40; ++i) {
        const std::string path = "xattrs/shared-" + std::to_string(i);
        file(path, make_content(content::text, i * 300, random()));
        xattr(path, "user.shared", "the same long value on each of these forty files, and so worth storing only once");
        xattr(path, "user.own", std::to_string(i));
    }
    directory("xattrs/directory");
    xattr("xattrs/directory", "user.directory", "yes");
    symlink_to("many", "xattrs/symlink");
    xattr("xattrs/symlink", "trusted.symlink", "yes");  // user.* is for files and directories only
}

// The value of system.posix_acl_*: a version and entries of tag, permissions, id, little-endian
// (linux/posix_acl_xattr.h).
struct acl_entry {
    std::uint16_t tag;
    std::uint16_t permissions;
    std::uint32_t id;
};

std::string acl_value(std::span<const acl_entry> entries) {
    std::string value;
    const auto append = [&value](std::uint32_t number, unsigned bytes) {
        for (unsigned i = 0; i < bytes; ++i) value += static_cast<char>((number >> (8 * i)) & 0xff);
    };
    append(2, 4);
    for (const acl_entry& entry : entries) {
        append(entry.tag, 2);
        append(entry.permissions, 2);
        append(entry.id, 4);
    }
    return value;
}

void tree_builder::acls() {
    constexpr std::uint16_t user_obj = 1, user = 2, group_obj = 4, group = 8, mask = 16, other = 32;
    constexpr std::uint32_t no_id = 0xffffffff;
    const std::array access{acl_entry{user_obj, 6, no_id},  acl_entry{user, 4, 1000},  acl_entry{user, 6, 70'000},
                            acl_entry{group_obj, 4, no_id}, acl_entry{group, 4, 2000}, acl_entry{mask, 6, no_id},
                            acl_entry{other, 0, no_id}};
    const std::array inherited{acl_entry{user_obj, 7, no_id}, acl_entry{user, 5, 1000}, acl_entry{group_obj, 5, no_id},
                               acl_entry{mask, 5, no_id}, acl_entry{other, 5, no_id}};
    directory("acls");
    for (const char* name : {"acls/one", "acls/two"}) {
        file(name, "guarded\n");
        xattr(name, "system.posix_acl_access", acl_value(access));
    }
    directory("acls/directory");
    file("acls/directory/before", "the default came after this file\n");
    xattr("acls/directory", "system.posix_acl_default", acl_value(inherited));
}

void tree_builder::sparse() {
    directory("sparse");
    struct piece {
        std::uint64_t offset;
        std::size_t size;
    };
    const auto make = [this](const std::string& path, std::uint64_t size, std::span<const piece> pieces) {
        const int fd = open(full(path).c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
        if (fd < 0 || ftruncate(fd, static_cast<off_t>(size)) != 0) fail("create", path);
        for (const piece& data : pieces) {
            const std::string bytes = make_content(content::text, data.size, random());
            if (pwrite(fd, bytes.data(), bytes.size(), static_cast<off_t>(data.offset)) != ssize_t(bytes.size())) {
                fail("write", path);
            }
        }
        close(fd);
        set_owner(path, {});
        set_some_time(path);
    };
    make("sparse/hole-only", 1u << 20, {});
    make("sparse/hole-first", 300'001, std::array{piece{262'144, 5000}});
    make("sparse/hole-last", 3u << 20, std::array{piece{0, 70'000}});
    make("sparse/holes-between", 4u << 20, std::array{piece{4096, 1}, piece{1u << 20, 4096}, piece{3'000'000, 10'000}});
}

void tree_builder::times() {
    directory("times");
    for (const std::int64_t seconds :
         {0ll, 1ll, 0x7fffffffll, 0x80000000ll, 0xffffffffll, 0x100000000ll, 5'000'000'000ll}) {
        const std::string path = "times/" + std::to_string(seconds);
        file(path, "then\n");
        set_time(path, seconds);
    }
}

void tree_builder::build() {
    umask(0);
    if (mkdir(root_.c_str(), 0755) != 0 && errno != EEXIST) fail("mkdir", root_);
    set_owner("", {.mode = 0755});
    sizes();
    large();
    wide();
    nested();
    deep();
    names();
    links();
    special();
    owners_and_modes();
    xattrs();
    acls();
    sparse();
    times();
    std::for_each(directories_.rbegin(), directories_.rend(), [this](const std::string& path) { set_some_time(path); });
    set_time("", 1'700'000'000);
    for (const auto& [what, count] : skipped_)
        std::cerr << "make_tree: left out: " << what << " (" << count << " times)\n";
}

}  // namespace

int main(int argc, char** argv) {
    std::span arguments(argv, static_cast<std::size_t>(argc));
    arguments = arguments.subspan(1);
    std::uint64_t seed = 1;
    std::uint64_t longest_name = 255;
    bool valid = true;
    while (arguments.size() > 1) {
        const std::string_view option = arguments[0];
        const std::string_view text = arguments[1];
        std::uint64_t& number = option == "--seed" ? seed : longest_name;
        const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
        valid = valid && (option == "--seed" || option == "--longest-name") && error == std::errc() &&
                end == text.data() + text.size();
        arguments = arguments.subspan(2);
    }
    valid = valid && longest_name >= 16 && longest_name <= 255;
    if (!valid || arguments.size() != 1 || arguments[0][0] == '-') {
        std::cerr << "usage: make_tree [--seed N] [--longest-name BYTES] DIR\n";
        return 2;
    }
    tree_builder(arguments[0], seed, longest_name).build();
    return 0;
}
