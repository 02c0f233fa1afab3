#include "cache/directory.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cerrno>
#include <memory>

#include "base/fault.h"

namespace nerofs::cache {

result<unique_fd> open_in(fd_ref directory, const std::string& name, int flags, mode_t mode) {
    unique_fd file(::openat(directory.get(), name.c_str(), flags | O_CLOEXEC | O_NOFOLLOW, mode));
    if (!file) return fail_errno("open '" + name + "'");
    return file;
}

result<unique_fd> open_directory_in(fd_ref parent, const std::string& name) {
    if (::mkdirat(parent.get(), name.c_str(), 0700) != 0 && errno != EEXIST) return fail_errno("mkdir '" + name + "'");
    return open_in(parent, name, O_RDONLY | O_DIRECTORY);
}

status link_into(fd_ref directory, const std::string& name, fd_ref file) {
    const std::string path = "/proc/self/fd/" + std::to_string(file.get());
    if (::linkat(AT_FDCWD, path.c_str(), directory.get(), name.c_str(), AT_SYMLINK_FOLLOW) != 0)
        return fail_errno("link '" + name + "'");
    return {};
}

result<std::vector<std::string>> entries_of(fd_ref directory) {
    // Not dup: the position of a listing belongs to the description.
    NEROFS_TRY(unique_fd listing, open_in(directory, ".", O_RDONLY | O_DIRECTORY));
    const std::unique_ptr<DIR, int (*)(DIR*)> stream(::fdopendir(listing.get()), &::closedir);
    if (!stream) return fail_errno("list a directory");
    listing.release();  // the stream's now
    std::vector<std::string> names;
    errno = 0;
    while (const dirent* entry = ::readdir(stream.get())) {
        const std::string name = entry->d_name;
        if (name != "." && name != "..") names.push_back(name);
        errno = 0;
    }
    if (errno != 0) return fail_errno("list a directory");
    return names;
}

std::uint64_t remove_entries(fd_ref directory) {
    std::uint64_t freed = 0;
    const auto names = entries_of(directory);
    if (!names) return 0;
    for (const std::string& name : *names) {
        struct stat found {};
        const bool known = ::fstatat(directory.get(), name.c_str(), &found, AT_SYMLINK_NOFOLLOW) == 0;
        if (::unlinkat(directory.get(), name.c_str(), 0) == 0 && known)
            freed += static_cast<std::uint64_t>(found.st_blocks) * 512;
        (void)fault::point("cache.unlinked");
    }
    return freed;
}

result<file_identity> identity_of(fd_ref file) {
    struct statx found {};
    if (::statx(file.get(), "", AT_EMPTY_PATH, STATX_INO | STATX_BTIME, &found) != 0) return fail_errno("statx");
    file_identity id;
    id.device = makedev(found.stx_dev_major, found.stx_dev_minor);
    id.inode = found.stx_ino;
    if ((found.stx_mask & STATX_BTIME) != 0)
        id.born_ns = found.stx_btime.tv_sec * 1'000'000'000 + found.stx_btime.tv_nsec;
    return id;
}

std::uint64_t disk_bytes_of(fd_ref file) {
    struct stat found {};
    return ::fstat(file.get(), &found) == 0 ? static_cast<std::uint64_t>(found.st_blocks) * 512 : 0;
}

bool same_file(fd_ref open_file, fd_ref directory, const std::string& name) {
    struct stat a {};
    struct stat b {};
    return ::fstat(open_file.get(), &a) == 0 &&
           ::fstatat(directory.get(), name.c_str(), &b, AT_SYMLINK_NOFOLLOW) == 0 && a.st_dev == b.st_dev &&
           a.st_ino == b.st_ino;
}

result<instance_id> random_id() {
    instance_id id;
    if (::getrandom(id.data(), id.size(), 0) != static_cast<ssize_t>(id.size())) return fail_errno("getrandom");
    return id;
}

}  // namespace nerofs::cache
