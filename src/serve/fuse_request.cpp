#include "serve/fuse_request.h"

#include <fcntl.h>
#include <linux/fuse.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <limits>

namespace nerofs::serve::fuse {
namespace {

static_assert(sizeof(reply_header) == sizeof(fuse_out_header));
static_assert(read_buffer_bytes == FUSE_MIN_READ_BUFFER);
static_assert(max_known_request_bytes >= sizeof(fuse_in_header) + sizeof(fuse_init_in));

constexpr std::uint64_t root_node = FUSE_ROOT_ID;
constexpr std::uint64_t image_node = 2;
constexpr std::uint64_t for_ever = std::numeric_limits<std::uint32_t>::max();  // seconds; nothing changes
constexpr std::uint32_t first_minor = 28;                                      // Linux 4.20: max_pages

constexpr std::uint32_t wanted_flags = FUSE_ASYNC_READ | FUSE_MAX_PAGES | FUSE_PARALLEL_DIROPS | FUSE_ASYNC_DIO;
// Asynchronous reads (read-ahead, direct I/O) that the driver hands out at once; its own default is 12.
constexpr std::uint16_t most_background = 64;

template <class T>
T at(std::span<const std::byte> bytes, std::size_t offset) {
    T value;
    std::memcpy(&value, bytes.data() + offset, sizeof value);
    return value;
}

verdict refuse(verdict v, std::int32_t error) {
    v.what = action::answer;
    v.error = error;
    return v;
}

verdict nothing(verdict v) {
    v.what = action::answer;
    return v;
}

template <class T>
verdict with(verdict v, const T& body) {
    static_assert(sizeof body <= sizeof v.body);
    v.what = action::answer;
    std::memcpy(v.body.data(), &body, sizeof body);
    v.body_bytes = sizeof body;
    return v;
}

// For root alone; it is the mount that others see.
fuse_attr attributes(std::uint64_t node, std::uint64_t image_bytes) {
    fuse_attr a{};
    a.ino = node;
    a.blksize = 4096;
    if (node == root_node) {
        a.mode = S_IFDIR | 0500;
        a.nlink = 2;
    } else {
        a.mode = S_IFREG | 0400;
        a.nlink = 1;
        a.size = image_bytes;
        a.blocks = image_bytes / 512 + (image_bytes % 512 != 0);
    }
    return a;
}

verdict init(verdict v, std::span<const std::byte> arguments) {
    // Version, read-ahead and flags; what later versions have added isn't needed.
    if (arguments.size() < 4 * sizeof(std::uint32_t)) return refuse(v, EINVAL);
    const auto major = at<std::uint32_t>(arguments, offsetof(fuse_init_in, major));
    const auto minor = at<std::uint32_t>(arguments, offsetof(fuse_init_in, minor));
    fuse_init_out out{};
    out.major = FUSE_KERNEL_VERSION;
    out.minor = FUSE_KERNEL_MINOR_VERSION;
    if (major > FUSE_KERNEL_VERSION) return with(v, out);  // it asks again, by our version
    if (major < FUSE_KERNEL_VERSION || minor < first_minor) return refuse(v, EPROTO);
    out.max_readahead = std::min(at<std::uint32_t>(arguments, offsetof(fuse_init_in, max_readahead)), max_read_bytes);
    out.flags = at<std::uint32_t>(arguments, offsetof(fuse_init_in, flags)) & wanted_flags;
    out.max_background = most_background;
    out.congestion_threshold = most_background * 3 / 4;
    out.max_write = 4096;  // the least; requests then fit the smallest buffer
    out.time_gran = 1;
    out.max_pages = max_read_bytes / 4096;
    return with(v, out);
}

verdict lookup(verdict v, std::uint64_t node, std::span<const std::byte> name, std::uint64_t image_bytes) {
    if (node != root_node) return refuse(v, ENOTDIR);
    const bool found = name.size() == image_name.size() + 1 && name.back() == std::byte{0} &&
                       std::memcmp(name.data(), image_name.data(), image_name.size()) == 0;
    if (!found) return refuse(v, ENOENT);
    fuse_entry_out out{};
    out.nodeid = image_node;
    out.entry_valid = out.attr_valid = for_ever;
    out.attr = attributes(image_node, image_bytes);
    return with(v, out);
}

verdict read(verdict v, std::span<const std::byte> arguments, std::uint64_t image_bytes) {
    const auto in = at<fuse_read_in>(arguments, 0);
    if (in.size > max_read_bytes) return refuse(v, EINVAL);
    if (in.offset >= image_bytes || in.size == 0) return nothing(v);  // behind the end
    v.what = action::read;
    v.offset = in.offset;
    v.length = static_cast<std::uint32_t>(std::min<std::uint64_t>(in.size, image_bytes - in.offset));
    return v;
}

// The length of the arguments of those requests that are answered with more than an error.
bool right_length(std::uint32_t opcode, std::size_t arguments) {
    switch (opcode) {
        case FUSE_GETATTR:
            return arguments == sizeof(fuse_getattr_in);
        case FUSE_OPEN:
        case FUSE_OPENDIR:
            return arguments == sizeof(fuse_open_in);
        case FUSE_READ:
            return arguments == sizeof(fuse_read_in);
        case FUSE_RELEASE:
        case FUSE_RELEASEDIR:
            return arguments == sizeof(fuse_release_in);
        case FUSE_STATFS:
        case FUSE_DESTROY:
            return arguments == 0;
        default:
            return true;
    }
}

}  // namespace

std::uint32_t request_bytes(std::span<const std::byte> begin) {
    if (begin.size() < sizeof(fuse_in_header)) return 0;
    const auto length = at<std::uint32_t>(begin, offsetof(fuse_in_header, len));
    return length >= sizeof(fuse_in_header) && length <= read_buffer_bytes ? length : 0;
}

std::uint64_t unique_of(std::span<const std::byte> begin) {
    return at<std::uint64_t>(begin, offsetof(fuse_in_header, unique));
}

verdict judge(std::span<const std::byte> request, std::uint64_t image_bytes) {
    verdict v;
    const std::uint32_t length = request_bytes(request);
    if (length == 0 || request.size() < std::min<std::size_t>(length, max_known_request_bytes)) return v;
    const auto header = at<fuse_in_header>(request, 0);
    const auto arguments =
        request.subspan(sizeof header, std::min<std::size_t>(request.size(), length) - sizeof header);
    v.unique = header.unique;
    if (header.opcode == FUSE_FORGET || header.opcode == FUSE_BATCH_FORGET) {
        v.what = action::ignore;  // there are two nodes, for ever
        return v;
    }
    if (header.opcode == FUSE_INIT) return init(v, arguments);
    if (header.opcode == FUSE_INTERRUPT) return refuse(v, ENOSYS);  // answers come soon, or by a deadline; never again
    if (header.nodeid != root_node && header.nodeid != image_node && header.nodeid != 0) return refuse(v, ESTALE);
    if (!right_length(header.opcode, length - sizeof header)) return refuse(v, EINVAL);
    const bool is_image = header.nodeid == image_node;
    const bool is_root = header.nodeid == root_node;

    switch (header.opcode) {
        case FUSE_LOOKUP:
            return lookup(v, header.nodeid, arguments, image_bytes);
        case FUSE_GETATTR: {
            if (!is_image && !is_root) return refuse(v, ESTALE);
            fuse_attr_out out{};
            out.attr_valid = for_ever;
            out.attr = attributes(header.nodeid, image_bytes);
            return with(v, out);
        }
        case FUSE_OPEN: {
            if (!is_image) return refuse(v, EISDIR);
            if ((at<fuse_open_in>(arguments, 0).flags & O_ACCMODE) != O_RDONLY) return refuse(v, EROFS);
            // Data passes by the page cache of this file, as the file system or loop device above has its own. What is
            // read by page all the same (metadata of EROFS) is cached, and stays when the file is opened again.
            // NOFLUSH: a close(2) doesn't ask. It would in a process that is being forked with such a file open, to
            // become the very server that has to answer.
            fuse_open_out out{};
            out.open_flags = FOPEN_DIRECT_IO | FOPEN_KEEP_CACHE | FOPEN_NOFLUSH;
            return with(v, out);
        }
        case FUSE_READ:
            if (!is_image) return refuse(v, EISDIR);
            return read(v, arguments, image_bytes);
        case FUSE_OPENDIR:
            return is_root ? with(v, fuse_open_out{}) : refuse(v, ENOTDIR);
        case FUSE_STATFS: {
            fuse_statfs_out out{};
            out.st.bsize = out.st.frsize = 4096;
            out.st.blocks = image_bytes / 4096 + (image_bytes % 4096 != 0);
            out.st.files = 1;
            out.st.namelen = 255;
            return with(v, out);
        }
        case FUSE_RELEASE:
        case FUSE_RELEASEDIR:
        case FUSE_DESTROY:
            return nothing(v);
        case FUSE_READDIR:
        case FUSE_READDIRPLUS:
            return nothing(v);  // nobody has to be told
        case FUSE_SETATTR:
        case FUSE_SYMLINK:
        case FUSE_MKNOD:
        case FUSE_MKDIR:
        case FUSE_UNLINK:
        case FUSE_RMDIR:
        case FUSE_RENAME:
        case FUSE_LINK:
        case FUSE_WRITE:
        case FUSE_SETXATTR:
        case FUSE_REMOVEXATTR:
        case FUSE_CREATE:
        case FUSE_FALLOCATE:
        case FUSE_RENAME2:
        case FUSE_COPY_FILE_RANGE:
        case FUSE_TMPFILE:
            return refuse(v, EROFS);
        default:
            // The driver remembers that, for flush, access, extended attributes and the like, and doesn't ask again.
            return refuse(v, ENOSYS);
    }
}

}  // namespace nerofs::serve::fuse
