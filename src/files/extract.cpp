#include "files/extract.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <functional>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/unique_fd.h"
#include "erofs/tree.h"
#include "files/image_files.h"
#include "layer/text.h"
#include "os/files.h"

namespace nerofs::files {
namespace {

constexpr mode_t permission_bits = 07777;
constexpr mode_t set_id_bits = S_ISUID | S_ISGID;
constexpr std::size_t open_bytes = 4000;  // of a path, for one system call

// The directory at a path below `top`, reached without following a symlink. "" is `top`.
result<unique_fd> open_below(fd_ref top, std::string_view path) {
    unique_fd here;
    fd_ref from = top;
    std::string_view rest = path.empty() ? "." : path;
    while (!rest.empty()) {
        std::size_t length = rest.size();
        if (length > open_bytes) length = rest.rfind('/', open_bytes);  // names have 255 bytes at most
        struct open_how how {};
        how.flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC;
        how.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS;
        const std::string part(rest.substr(0, length));
        const long opened = ::syscall(SYS_openat2, from.get(), part.c_str(), &how, sizeof how);
        if (opened < 0) return fail_errno("open the directory");
        here = unique_fd(static_cast<int>(opened));
        from = here;
        rest.remove_prefix(std::min(rest.size(), length + 1));
    }
    return here;
}

struct split_path {
    std::string directory;
    std::string name;
};
split_path split(std::string_view path) {
    const std::size_t slash = path.rfind('/');
    if (slash == std::string_view::npos) return {"", std::string(path)};
    return {std::string(path.substr(0, slash)), std::string(path.substr(slash + 1))};
}

class extraction {
  public:
    extraction(erofs::reader& image, fd_ref top, const extract_options& options)
        : image_(image), top_(top), options_(options), uid_(::geteuid()), gid_(::getegid()) {}

    status add(std::string_view path, const erofs::inode& i);
    // The directories' own facts, the innermost first.
    status finish();
    void remember(std::string_view path, const erofs::inode& i) { directories_.emplace_back(path, i); }
    extracted take() { return std::move(done_); }

  private:
    status make(const split_path& at, const erofs::inode& i);
    status make_file(const std::string& name, const erofs::inode& i);
    status facts_of_name(const std::string& name, const erofs::inode& i);
    status facts_of_open(fd_ref file, const erofs::inode& i);
    // `set` is one of the kernel's setxattr calls.
    status attributes(const erofs::inode& i, const std::function<int(const erofs::xattr&)>& set);
    mode_t mode_of(const erofs::inode& i) const {
        const mode_t bits = i.mode & permission_bits;
        return options_.as_root ? bits : bits & ~set_id_bits;
    }
    bool owner_differs(const erofs::inode& i) const { return i.uid != uid_ || i.gid != gid_; }

    erofs::reader& image_;
    fd_ref top_;
    extract_options options_;
    uid_t uid_;
    gid_t gid_;
    extracted done_;
    std::string parent_path_;  // of parent_
    unique_fd parent_;
    std::vector<std::pair<std::string, erofs::inode>> directories_;
    std::unordered_map<std::uint64_t, std::string> first_names_;  // of what has several
};

std::array<timespec, 2> times_of(const erofs::inode& i) {
    return {timespec{0, UTIME_OMIT}, timespec{i.mtime.seconds, static_cast<long>(i.mtime.nanoseconds)}};
}

status extraction::attributes(const erofs::inode& i, const std::function<int(const erofs::xattr&)>& set) {
    if (i.xattr_size == 0) return {};
    NEROFS_TRY(const std::vector<erofs::xattr> all, image_.xattrs(i));
    for (const erofs::xattr& a : all) {
        if (options_.as_root && set(a) == 0) continue;
        ++done_.left_out_attributes;
        if (options_.as_root && done_.attribute_error.empty()) done_.attribute_error = errno_error(a.name).message();
    }
    return {};
}

// chown clears set-id bits and capabilities, so it comes first; a mode may forbid what else there is to do.
status extraction::facts_of_open(fd_ref file, const erofs::inode& i) {
    if (options_.as_root) {
        if (::fchown(file.get(), i.uid, i.gid) != 0) return fail_errno("set the owner");
    } else if (owner_differs(i)) {
        ++done_.left_out_owners;
    }
    NEROFS_CHECK(attributes(i, [&](const erofs::xattr& a) {
        return ::fsetxattr(file.get(), a.name.c_str(), a.value.data(), a.value.size(), 0);
    }));
    if (::fchmod(file.get(), mode_of(i)) != 0) return fail_errno("set the mode");
    if (::futimens(file.get(), times_of(i).data()) != 0) return fail_errno("set the time");
    return {};
}

status extraction::facts_of_name(const std::string& name, const erofs::inode& i) {
    if (options_.as_root) {
        if (::fchownat(parent_.get(), name.c_str(), i.uid, i.gid, AT_SYMLINK_NOFOLLOW) != 0)
            return fail_errno("set the owner");
    } else if (owner_differs(i)) {
        ++done_.left_out_owners;
    }
    const std::string path = fmt::format("/proc/self/fd/{}/{}", parent_.get(), name);
    NEROFS_CHECK(attributes(i, [&](const erofs::xattr& a) {
        return ::lsetxattr(path.c_str(), a.name.c_str(), a.value.data(), a.value.size(), 0);
    }));
    // The name was made just now, and isn't a symlink.
    if (i.type != erofs::file_type::symlink && ::fchmodat(parent_.get(), name.c_str(), mode_of(i), 0) != 0)
        return fail_errno("set the mode");
    if (::utimensat(parent_.get(), name.c_str(), times_of(i).data(), AT_SYMLINK_NOFOLLOW) != 0)
        return fail_errno("set the time");
    return {};
}

status extraction::make_file(const std::string& name, const erofs::inode& i) {
    constexpr int flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
    const unique_fd file(::openat(parent_.get(), name.c_str(), flags, 0600));
    if (!file) return fail_errno("create");
    NEROFS_CHECK(read(image_, i, holes::skipped, [&](std::uint64_t at, std::span<const std::byte> bytes) -> status {
        done_.bytes += bytes.size();
        while (!bytes.empty()) {
            const ssize_t count = ::pwrite(file.get(), bytes.data(), bytes.size(), static_cast<off_t>(at));
            if (count < 0 && errno == EINTR) continue;
            if (count < 0) return fail_errno("write");
            at += static_cast<std::uint64_t>(count);
            bytes = bytes.subspan(static_cast<std::size_t>(count));
        }
        return {};
    }));
    if (::ftruncate(file.get(), static_cast<off_t>(i.size)) != 0) return fail_errno("set the size");
    return facts_of_open(file, i);
}

status extraction::make(const split_path& at, const erofs::inode& i) {
    const std::string& name = at.name;
    if (!parent_ || parent_path_ != at.directory) {
        NEROFS_TRY(parent_, open_below(top_, at.directory));
        parent_path_ = at.directory;
    }
    switch (i.type) {
        case erofs::file_type::directory:
            if (::mkdirat(parent_.get(), name.c_str(), 0700) != 0) return fail_errno("create");
            remember(at.directory.empty() ? name : at.directory + "/" + name, i);
            return {};
        case erofs::file_type::regular:
            return make_file(name, i);
        case erofs::file_type::symlink: {
            NEROFS_TRY(const std::string target, image_.read_link(i));
            if (::symlinkat(target.c_str(), parent_.get(), name.c_str()) != 0) return fail_errno("create");
            return facts_of_name(name, i);
        }
        case erofs::file_type::character:
        case erofs::file_type::block:
            if (!options_.as_root) {
                ++done_.left_out_devices;
                return {};
            }
            [[fallthrough]];
        case erofs::file_type::fifo:
        case erofs::file_type::socket:
            if (::mknodat(parent_.get(), name.c_str(), (i.mode & S_IFMT) | 0600,
                          makedev(i.device_major, i.device_minor)) != 0)
                return fail_errno("create");
            return facts_of_name(name, i);
    }
    return {};
}

status extraction::add(std::string_view path, const erofs::inode& i) {
    ++done_.names;
    const split_path at = split(path);
    if (i.links > 1 && i.type != erofs::file_type::directory) {
        const auto [known, first] = first_names_.try_emplace(i.nid, path);
        const bool is_device = i.type == erofs::file_type::character || i.type == erofs::file_type::block;
        if (!first && (options_.as_root || !is_device)) {
            const split_path from = split(known->second);
            NEROFS_TRY(const unique_fd from_directory, open_below(top_, from.directory));
            NEROFS_TRY(const unique_fd to_directory, open_below(top_, at.directory));
            if (::linkat(from_directory.get(), from.name.c_str(), to_directory.get(), at.name.c_str(), 0) != 0)
                return fail_errno("link");
            return {};
        }
    }
    return make(at, i);
}

status extraction::finish() {
    for (auto d = directories_.rbegin(); d != directories_.rend(); ++d) {
        const auto set = [&]() -> status {
            NEROFS_TRY(const unique_fd directory, open_below(top_, d->first));
            return facts_of_open(directory, d->second);
        };
        if (auto done = set(); !done) return fail(std::move(done).error().in(layer::shown(d->first)));
    }
    return {};
}

}  // namespace

result<extracted> extract(erofs::reader& image, std::string_view path, const std::string& to,
                          const extract_options& options) {
    NEROFS_TRY(const erofs::inode start, erofs::resolve(image, path, erofs::last_symlink::keep));
    struct stat there {};
    const bool is_new = ::stat(to.c_str(), &there) != 0;
    NEROFS_CHECK(os::make_directories(to, 0777));
    NEROFS_TRY(const unique_fd top, os::open_file(to, O_RDONLY | O_DIRECTORY));
    extraction work(image, top, options);
    const auto add = [&](std::string_view at, const erofs::inode& i) -> status {
        if (at.empty()) {
            if (is_new) work.remember(at, i);
            return {};
        }
        auto done = work.add(at, i);
        if (!done) return fail(std::move(done).error().in(layer::shown(at)));
        return {};
    };
    if (start.type == erofs::file_type::directory) {
        NEROFS_CHECK(erofs::walk_from(image, start, add));
    } else {
        NEROFS_CHECK(add(split(path).name, start));
    }
    NEROFS_CHECK(work.finish());
    return work.take();
}

}  // namespace nerofs::files
