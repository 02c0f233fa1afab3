#include "mount/local.h"

#include <fcntl.h>
#include <linux/loop.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <span>

#include "base/endian.h"
#include "os/files.h"
#include "os/mounts.h"
#include "os/shared_memory.h"

namespace nerofs::mount {
namespace {

// Another process may take the free device between the question and the answer.
constexpr int loop_tries = 16;

struct loop_device {
    unique_fd fd;
    std::string path;
};

result<loop_device> attach_loop(const opened_source& source) {
    const auto control = os::open_file("/dev/loop-control", O_RDWR);
    if (!control) return fail(error(control.error()).in("no loop device").with_hint("is the 'loop' module there?"));
    for (int i = 0; i < loop_tries; ++i) {
        const int number = ::ioctl(control->get(), LOOP_CTL_GET_FREE);
        if (number < 0) return fail_errno("no free loop device");
        loop_device loop;
        loop.path = "/dev/loop" + std::to_string(number);
        NEROFS_TRY(loop.fd, os::open_file(loop.path, O_RDONLY));
        loop_config config{};
        config.fd = static_cast<std::uint32_t>(source.file.get());
        // Autoclear: the device frees itself at the unmount; until the mount our descriptor holds it.
        config.info.lo_flags = LO_FLAGS_READ_ONLY | LO_FLAGS_AUTOCLEAR;
        // Its pages needn't be kept twice; a disk's file system may not be able to.
        if (source.by_fuse) config.info.lo_flags |= LO_FLAGS_DIRECT_IO;
        const std::size_t size = std::min(source.path.size(), sizeof config.info.lo_file_name - 1);
        std::memcpy(config.info.lo_file_name, source.path.data(), size);
        if (::ioctl(loop.fd.get(), LOOP_CONFIGURE, &config) == 0) return loop;
        if (errno != EBUSY) return fail_errno("'" + loop.path + "'");
    }
    return fail(errno_error(EBUSY, "no free loop device"));
}

// An EROFS image with nothing but an empty root directory, in one page; src/erofs/ondisk.h says what the fields are.
// `of_layers`: blocks of 512 bytes, and a device of data without a name behind them, as erofs::write_index has it.
std::array<std::byte, 4096 + 512> empty_image(bool of_layers) {
    std::array<std::byte, 4096 + 512> image{};
    const auto put = [&image](std::size_t at, auto value) { std::memcpy(image.data() + at, &value, sizeof value); };
    constexpr std::size_t superblock = 1024;
    constexpr std::size_t slot = superblock + 128;
    constexpr std::size_t root = slot + 128;
    const std::uint32_t blocks = of_layers ? 8 : 1;
    put(superblock, le32(0xe0f5e1e2));                                    // magic
    put(superblock + 12, static_cast<std::uint8_t>(of_layers ? 9 : 12));  // block_bits
    put(superblock + 14, le16(root / 32));                                // root_nid
    put(superblock + 16, le64(1));                                        // inodes
    put(superblock + 36, le32(blocks));                                   // blocks
    put(root + 4, le16(S_IFDIR | 0755));                                  // mode
    put(root + 6, le16(2));                                               // links
    if (!of_layers) return image;
    put(superblock + 80, le32(8));           // feature_incompat: a device table
    put(superblock + 86, le16(1));           // extra_devices
    put(superblock + 88, le16(slot / 128));  // devt_slotoff
    put(slot + 64, le32(1));                 // blocks
    put(slot + 68, le32(blocks));            // mapped_blkaddr
    return image;
}

// Tried on a loop device, without a mount.
std::optional<bool> takes(std::span<const std::byte> image) {
    opened_source source;
    auto file = os::make_memfd("nerofs-probe", image.size());
    if (!file || ::pwrite(file->get(), image.data(), image.size(), 0) != static_cast<ssize_t>(image.size())) return {};
    source.file = std::move(*file);
    source.path = "nerofs-probe";
    const auto loop = attach_loop(source);
    if (!loop) return {};
    const unique_fd context(::fsopen("erofs", FSOPEN_CLOEXEC));
    if (!context || ::fsconfig(context.get(), FSCONFIG_SET_STRING, "source", loop->path.c_str(), 0) != 0 ||
        ::fsconfig(context.get(), FSCONFIG_SET_FLAG, "ro", nullptr, 0) != 0)
        return {};
    if (::fsconfig(context.get(), FSCONFIG_CMD_CREATE, nullptr, nullptr, 0) == 0) return true;
    return errno == EINVAL ? std::optional(false) : std::nullopt;
}

bool kernel_knows_erofs() {
    const auto filesystems = os::read_small_file("/proc/filesystems");
    return !filesystems || filesystems->find("\terofs\n") != std::string::npos;
}

}  // namespace

status mount_erofs(const std::string& source, const mount_request& request, const std::string& needs) {
    const os::kernel_messages messages;
    auto mounted = os::mount(source, request.target, "erofs", request.flags, request.data);
    if (mounted) return {};
    error e = std::move(mounted).error();
    if (e.code == ENODEV && !kernel_knows_erofs())
        return fail(std::move(e).in("this kernel has no EROFS").with_hint("is the 'erofs' module there?"));
    if (const std::string said = messages.since_then("erofs"); !said.empty()) e.text += " (kernel: " + said + ")";
    // Not when the kernel has complained about a mount option ("Unknown parameter", "Bad value for").
    const bool about_options =
        e.text.find("arameter") != std::string::npos || e.text.find("Bad value") != std::string::npos;
    const bool may_be_needs = (e.code == EINVAL || e.code == EOPNOTSUPP) && !about_options;
    if (may_be_needs && !needs.empty()) e.hint = "the image needs " + needs;
    return fail(std::move(e));
}

result<std::string> mount_local(const opened_source& source, const mount_request& request, bool force_loop,
                                const std::string& needs) {
    if (source.block_device && !force_loop) {
        NEROFS_CHECK(mount_erofs(source.path, request, needs));
        return std::string("block device");
    }
    if (!force_loop) {
        const std::string file = source.by_fuse ? "/proc/self/fd/" + std::to_string(source.file.get()) : source.path;
        const auto mounted = mount_erofs(file, request, needs);
        if (mounted) return std::string("file-backed");
        // ENOTBLK: a kernel that mounts block devices only. All other errors would be a loop device's, too.
        if (mounted.error().code != ENOTBLK) return fail(mounted.error());
    }
    NEROFS_TRY(const loop_device loop, attach_loop(source));
    NEROFS_CHECK(mount_erofs(loop.path, request, needs));
    return "loop (" + loop.path + ")";
}

std::optional<bool> takes_layers() {
    const auto layers = takes(empty_image(true));
    if (layers != false) return layers;
    // Not if it refuses anything.
    return takes(empty_image(false)) == true ? std::optional(false) : std::nullopt;
}

}  // namespace nerofs::mount
