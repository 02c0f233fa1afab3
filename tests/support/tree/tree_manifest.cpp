// tree_manifest [--threads N] [--nanoseconds] DIR: prints one line for each inode path below DIR (which is "."), sorted
// by path, so that diff decides whether two trees are equal. A line is the path, the type and then name=value fields.
// Bytes outside printable ASCII, spaces, backslashes and '=' are written as \xHH. A directory has no size or link
// count, which are the file system's own affair. Times are in seconds unless asked for otherwise. Mount points below
// DIR are printed but not entered. What cannot be read is reported on stderr with its path, has "error" in its line,
// and makes the exit status 1.
#include <dirent.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <charconv>
#include <cstdint>
#include <cstring>
#include <iostream>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <tuple>
#include <utility>
#include <vector>

namespace {

constexpr std::size_t read_bytes = 128 * 1024;

std::string escape(std::string_view bytes) {
    static constexpr std::string_view digits = "0123456789abcdef";
    std::string text;
    for (const char c : bytes) {
        const auto byte = static_cast<unsigned char>(c);
        if (byte > ' ' && byte < 0x7f && c != '\\' && c != '=') {
            text += c;
        } else {
            text += "\\x";
            text += digits[byte >> 4];
            text += digits[byte & 15];
        }
    }
    return text;
}

std::string hex(std::span<const unsigned char> bytes) {
    static constexpr std::string_view digits = "0123456789abcdef";
    std::string text;
    for (const unsigned char byte : bytes) {
        text += digits[byte >> 4];
        text += digits[byte & 15];
    }
    return text;
}

std::string octal(unsigned number) {
    char digits[16];
    const auto end = std::to_chars(std::begin(digits), std::end(digits), number, 8).ptr;
    const std::string text(digits, end);
    return std::string(text.size() < 4 ? 4 - text.size() : 0, '0') + text;
}

class error_log {
  public:
    void report(std::string_view path, std::string_view what) {
        const int error = errno;
        const std::lock_guard lock(mutex_);
        std::cerr << "tree_manifest: " << escape(path) << ": " << what << ": " << std::strerror(error) << '\n';
        any_ = true;
    }
    bool any() const { return any_; }  // after the readers have ended

  private:
    std::mutex mutex_;
    bool any_ = false;
};

struct entry {
    std::string path;  // relative to the root, which is "."
    struct statx status {};
    bool known = false;  // statx succeeded
};

using inode_id = std::tuple<std::uint32_t, std::uint32_t, std::uint64_t>;  // device major, minor, inode number

inode_id id_of(const struct statx& status) {
    return {status.stx_dev_major, status.stx_dev_minor, status.stx_ino};
}

class sha256 {
  public:
    sha256() : context_(EVP_MD_CTX_new(), EVP_MD_CTX_free) {}

    void start() { require(EVP_DigestInit_ex(context_.get(), EVP_sha256(), nullptr)); }
    void add(std::span<const char> bytes) { require(EVP_DigestUpdate(context_.get(), bytes.data(), bytes.size())); }
    std::string finish() {
        unsigned char digest[EVP_MAX_MD_SIZE];
        unsigned size = 0;
        require(EVP_DigestFinal_ex(context_.get(), digest, &size));
        return hex(std::span(digest, size));
    }

  private:
    static void require(int success) {
        if (success != 1) {
            std::cerr << "tree_manifest: libcrypto fails at SHA-256\n";
            std::abort();
        }
    }

    std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context_;
};

class manifest {
  public:
    manifest(std::string root, bool nanoseconds) : root_(std::move(root)), nanoseconds_(nanoseconds) {}

    void scan();
    void describe(unsigned threads);
    bool print() const;  // false when something could not be read

  private:
    std::string full(std::string_view path) const { return root_ + '/' + std::string(path); }

    bool look_at(entry& item);
    void scan_directory(const std::string& path);
    std::string line_of(const entry& item, sha256& hash, std::span<char> buffer);
    std::string content_digest(const entry& item, sha256& hash, std::span<char> buffer);
    std::string symlink_target(const entry& item, std::span<char> buffer);
    std::string xattr_fields(const entry& item);

    std::string root_;
    bool nanoseconds_;
    std::vector<entry> entries_;
    std::vector<std::string> lines_;
    std::map<inode_id, std::string> first_path_;  // of the inodes with several links
    error_log errors_;
};

bool manifest::look_at(entry& item) {
    // The size and time of a FUSE or network file are asked for anew, too.
    item.known = statx(AT_FDCWD, full(item.path).c_str(), AT_SYMLINK_NOFOLLOW | AT_STATX_FORCE_SYNC | AT_NO_AUTOMOUNT,
                       STATX_BASIC_STATS, &item.status) == 0;
    if (!item.known) errors_.report(full(item.path), "statx");
    return item.known;
}

void manifest::scan() {
    entry top{.path = "."};
    const bool is_directory = look_at(top) && S_ISDIR(top.status.stx_mode);
    if (top.known && !is_directory) {
        errno = ENOTDIR;
        errors_.report(root_, "open");
    }
    entries_.push_back(std::move(top));
    if (is_directory) scan_directory("");
    std::sort(entries_.begin(), entries_.end(), [](const entry& a, const entry& b) { return a.path < b.path; });
    for (const entry& item : entries_) {
        if (item.known && !S_ISDIR(item.status.stx_mode) && item.status.stx_nlink > 1) {
            first_path_.emplace(id_of(item.status), item.path);  // keeps the first
        }
    }
}

void manifest::scan_directory(const std::string& path) {
    const std::string prefix = path.empty() ? "" : path + '/';
    const std::unique_ptr<DIR, int (*)(DIR*)> directory(opendir(full(path).c_str()), closedir);
    if (!directory) return errors_.report(full(path), "opendir");
    std::vector<std::string> below;
    while (true) {
        errno = 0;
        const dirent* found = readdir(directory.get());
        if (found == nullptr) break;
        const std::string_view name = found->d_name;
        if (name == "." || name == "..") continue;
        entry item{.path = prefix + std::string(name)};
        if (look_at(item) && S_ISDIR(item.status.stx_mode) &&
            (item.status.stx_attributes & STATX_ATTR_MOUNT_ROOT) == 0) {
            below.push_back(item.path);
        }
        entries_.push_back(std::move(item));
    }
    if (errno != 0) errors_.report(full(path), "readdir");
    for (const std::string& name : below) scan_directory(name);
}

void manifest::describe(unsigned threads) {
    lines_.resize(entries_.size());
    std::atomic<std::size_t> next = 0;
    const auto work = [&] {
        sha256 hash;
        std::vector<char> buffer(read_bytes);
        for (std::size_t i = next++; i < entries_.size(); i = next++) lines_[i] = line_of(entries_[i], hash, buffer);
    };
    std::vector<std::jthread> readers;
    for (unsigned i = 1; i < threads; ++i) readers.emplace_back(work);
    work();
}

std::string manifest::line_of(const entry& item, sha256& hash, std::span<char> buffer) {
    std::string line = escape(item.path);
    if (!item.known) return line + " error";
    const struct statx& status = item.status;
    const unsigned mode = status.stx_mode;
    switch (mode & S_IFMT) {
        case S_IFREG:
            line += " file";
            break;
        case S_IFDIR:
            line += " directory";
            break;
        case S_IFLNK:
            line += " symlink";
            break;
        case S_IFCHR:
            line += " character";
            break;
        case S_IFBLK:
            line += " block";
            break;
        case S_IFIFO:
            line += " fifo";
            break;
        case S_IFSOCK:
            line += " socket";
            break;
        default:
            line += " unknown";
            break;
    }
    const auto field = [&line](std::string_view name, const auto& value) {
        line += ' ';
        line += name;
        line += '=';
        if constexpr (std::is_arithmetic_v<std::decay_t<decltype(value)>>) {
            line += std::to_string(value);
        } else {
            line += value;
        }
    };
    field("mode", octal(mode & 07777));
    field("uid", status.stx_uid);
    field("gid", status.stx_gid);
    if (!S_ISDIR(mode)) {
        field("nlink", status.stx_nlink);
        field("size", status.stx_size);
    }
    if (S_ISCHR(mode) || S_ISBLK(mode)) {
        field("rdev", std::to_string(status.stx_rdev_major) + ':' + std::to_string(status.stx_rdev_minor));
    }
    std::string time = std::to_string(status.stx_mtime.tv_sec);
    if (nanoseconds_) time += '+' + std::to_string(status.stx_mtime.tv_nsec);
    field("mtime", time);
    if (S_ISLNK(mode)) field("target", symlink_target(item, buffer));
    if (S_ISREG(mode)) field("sha256", content_digest(item, hash, buffer));
    if (!S_ISDIR(mode) && status.stx_nlink > 1) field("first", escape(first_path_.at(id_of(status))));
    return line + xattr_fields(item);
}

std::string manifest::content_digest(const entry& item, sha256& hash, std::span<char> buffer) {
    const int fd = open(full(item.path).c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0) {
        errors_.report(full(item.path), "open");
        return "error";
    }
    hash.start();
    std::uint64_t offset = 0;
    ssize_t count = 0;
    while ((count = pread(fd, buffer.data(), buffer.size(), static_cast<off_t>(offset))) > 0) {
        hash.add(buffer.first(static_cast<std::size_t>(count)));
        offset += static_cast<std::uint64_t>(count);
    }
    const bool read_all = count == 0;
    if (!read_all) errors_.report(full(item.path), "read at " + std::to_string(offset));
    close(fd);
    if (!read_all) return "error";
    if (offset != item.status.stx_size) {
        errno = EIO;
        errors_.report(full(item.path),
                       "ends at " + std::to_string(offset) + " of " + std::to_string(item.status.stx_size));
        return "error";
    }
    return hash.finish();
}

std::string manifest::symlink_target(const entry& item, std::span<char> buffer) {
    const ssize_t length = readlink(full(item.path).c_str(), buffer.data(), buffer.size());
    if (length < 0) {
        errors_.report(full(item.path), "readlink");
        return "error";
    }
    return escape(std::string_view(buffer.data(), static_cast<std::size_t>(length)));
}

std::string manifest::xattr_fields(const entry& item) {
    // Both calls take a buffer of the kernel's own limit (XATTR_LIST_MAX, XATTR_SIZE_MAX), so there is no race to
    // repeat.
    thread_local std::vector<char> names(65536);
    thread_local std::vector<unsigned char> value(65536);
    const std::string path = full(item.path);
    const ssize_t length = llistxattr(path.c_str(), names.data(), names.size());
    if (length < 0) {
        if (errno == ENOTSUP) return "";
        errors_.report(full(item.path), "llistxattr");
        return " xattrs=error";
    }
    std::map<std::string, std::string> fields;
    for (std::string_view rest(names.data(), static_cast<std::size_t>(length)); !rest.empty();) {
        const std::string name(rest.substr(0, rest.find('\0')));
        rest.remove_prefix(std::min(rest.size(), name.size() + 1));
        const ssize_t size = lgetxattr(path.c_str(), name.c_str(), value.data(), value.size());
        if (size < 0) errors_.report(full(item.path), "lgetxattr " + escape(name));
        fields[escape(name)] = size < 0 ? "error" : hex(std::span(value).first(static_cast<std::size_t>(size)));
    }
    std::string text;
    for (const auto& [name, contents] : fields) text += ' ' + name + '=' + contents;
    return text;
}

bool manifest::print() const {
    for (const std::string& line : lines_) std::cout << line << '\n';
    return static_cast<bool>(std::cout.flush()) && !errors_.any();
}

int usage() {
    std::cerr << "usage: tree_manifest [--threads N] [--nanoseconds] DIR\n";
    return 2;
}

}  // namespace

int main(int argc, char** argv) {
    std::ios::sync_with_stdio(false);
    std::span arguments(argv, static_cast<std::size_t>(argc));
    arguments = arguments.subspan(1);
    unsigned threads = 1;
    if (arguments.size() > 1 && std::string_view(arguments[0]) == "--threads") {
        const std::string_view text = arguments[1];
        const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), threads);
        if (error != std::errc() || end != text.data() + text.size() || threads < 1 || threads > 256) return usage();
        arguments = arguments.subspan(2);
    }
    const bool nanoseconds = !arguments.empty() && std::string_view(arguments[0]) == "--nanoseconds";
    if (nanoseconds) arguments = arguments.subspan(1);
    if (arguments.size() != 1 || arguments[0][0] == '-') return usage();

    manifest tree(arguments[0], nanoseconds);
    tree.scan();
    tree.describe(threads);
    return tree.print() ? 0 : 1;
}
