#include "fetch/local_check.h"

#include <fmt/format.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include <algorithm>
#include <limits>
#include <vector>

#include "erofs/superblock.h"
#include "fetch/looks_like.h"
#include "os/files.h"

namespace nerofs::fetch {
namespace {

// The kernel's block layer takes no more from a device on 4 KiB pages, and larger file system blocks work on it as
// well.
constexpr std::uint32_t device_block_size_cap = 4096;

result<std::uint64_t> size_of(fd_ref image) {
    struct stat st;
    if (::fstat(image.get(), &st) != 0) return fail_errno("fstat");
    if (S_ISREG(st.st_mode)) return static_cast<std::uint64_t>(st.st_size);
    if (S_ISBLK(st.st_mode)) {
        std::uint64_t bytes = 0;
        if (::ioctl(image.get(), BLKGETSIZE64, &bytes) != 0) return fail_errno("ask for the device's size");
        return bytes;
    }
    if (S_ISDIR(st.st_mode)) {
        return fail(make_error(error_kind::usage, "is a directory, not an image")
                        .with_hint("mkfs.erofs makes an image from a directory"));
    }
    return fail(error_kind::usage, "is neither a regular file nor a block device");
}

class file_reader final : public erofs::byte_reader {
  public:
    file_reader(fd_ref file, std::uint64_t start) : file_(file), start_(start) {}

    status read_exact(std::uint64_t offset, std::span<std::byte> into) override {
        return os::pread_exact(file_, into, start_ + offset);
    }

  private:
    fd_ref file_;
    std::uint64_t start_;
};

// The same error, and if the bytes aren't EROFS at all, what they look like instead.
error explained(error e, erofs::byte_reader& reader, std::uint64_t available) {
    std::vector<std::byte> first(std::min<std::uint64_t>(available, looks_like_bytes));
    if (!reader.read_exact(0, first) || erofs::has_magic(first)) return e;
    if (const auto format = looks_like(first)) {
        e.text += fmt::format("; it looks like {}", format->name);
        e.hint = format->hint;
    }
    return e;
}

image_info describe(const erofs::superblock_info& super, std::uint64_t available) {
    const erofs::kernel_need kernel = super.first_kernel();
    image_info info;
    info.image_block_size = super.block_size();
    info.block_size = std::min(info.image_block_size, device_block_size_cap);
    info.size_bytes = available - available % info.block_size;
    info.needed_bytes = super.needed_bytes;
    info.uuid = super.uuid_text();
    info.volume_name = super.volume_name;
    info.features = fmt::format("{}", fmt::join(super.feature_names(), ", "));
    info.kernel_series = kernel.series();
    info.kernel_feature = kernel.feature;
    info.build_time = super.build_time > 0 ? static_cast<std::uint64_t>(super.build_time) : 0;
    info.flat_devices = super.flat_devices;
    return info;
}

}  // namespace

result<image_info> check_image(erofs::byte_reader& image, std::uint64_t available, bool has_extra_devices) {
    auto super = erofs::read_superblock(image, available, has_extra_devices);
    if (super) return describe(*super, available);
    return fail(explained(std::move(super).error(), image, available));
}

result<image_info> check_local_image(fd_ref image, std::uint64_t offset, bool has_extra_devices) {
    NEROFS_TRY(const std::uint64_t size, size_of(image));
    if (offset > 0 && offset >= size) {
        return fail(error_kind::usage, fmt::format("offset {} is beyond the end, the file has {} bytes",
                                                   erofs::with_commas(offset), erofs::with_commas(size)));
    }
    file_reader reader(image, offset);
    auto info = check_image(reader, size - offset, has_extra_devices);
    if (!info && offset > 0)
        return fail(std::move(info).error().in(fmt::format("at offset {}", erofs::with_commas(offset))));
    return info;
}

}  // namespace nerofs::fetch
