#include "commands/open_image.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <optional>
#include <span>
#include <utility>

#include "commands/remote_reader.h"
#include "commands/remote_request.h"
#include "erofs/memory_reader.h"
#include "erofs/superblock.h"
#include "layer/ingest.h"
#include "layer/merge.h"
#include "os/files.h"

namespace nerofs::commands {
namespace {

constexpr std::size_t piece_bytes = 1U << 20;
constexpr std::size_t first_bytes = 4096;

class file_reader final : public erofs::byte_reader {
  public:
    explicit file_reader(unique_fd file) : file_(std::move(file)) {}
    status read_exact(std::uint64_t offset, std::span<std::byte> into) override {
        return os::pread_exact(file_, into, offset);
    }

  private:
    unique_fd file_;
};

result<std::uint64_t> size_of(fd_ref file) {
    struct stat found {};
    if (::fstat(file.get(), &found) != 0) return fail_errno("fstat");
    if (S_ISREG(found.st_mode)) return static_cast<std::uint64_t>(found.st_size);
    std::uint64_t bytes = 0;
    if (!S_ISBLK(found.st_mode)) return fail(error_kind::usage, "is neither a regular file nor a block device");
    if (::ioctl(file.get(), BLKGETSIZE64, &bytes) != 0) return fail_errno("ask for the device's size");
    return bytes;
}

result<unique_fd> temporary_file() {
    const char* const set = std::getenv("TMPDIR");
    const std::string directory = set != nullptr && *set != '\0' ? set : "/var/tmp";
    auto made = os::open_file(directory, O_TMPFILE | O_RDWR, 0600);
    if (!made) return fail(std::move(made).error().in("a temporary file"));
    return made;
}

status write_all(fd_ref file, std::span<const std::byte> bytes) {
    while (!bytes.empty()) {
        const ssize_t count = ::write(file.get(), bytes.data(), bytes.size());
        if (count < 0 && errno == EINTR) continue;
        if (count < 0) return fail_errno("write the temporary file");
        bytes = bytes.subspan(static_cast<std::size_t>(count));
    }
    return {};
}

// A tar as an image of one layer.
result<opened_image> open_tar(unique_fd file, std::uint64_t size, layer::compression how) {
    unique_fd decoded;
    layer::ingest_options options;
    options.how = how;
    if (how != layer::compression::plain) {
        NEROFS_TRY(decoded, temporary_file());
        options.content = [&](std::span<const std::byte> bytes) { return write_all(decoded, bytes); };
    }
    layer::layer_ingest pass(std::move(options));
    std::vector<std::byte> piece(std::min<std::uint64_t>(size, piece_bytes));
    for (std::uint64_t at = 0; at < size;) {
        const auto part = std::span(piece).first(std::min<std::uint64_t>(piece.size(), size - at));
        NEROFS_CHECK(os::pread_exact(file, part, at));
        NEROFS_CHECK(pass.push(part));
        at += part.size();
    }
    NEROFS_TRY(layer::layer_index index, pass.finish());

    layer::merged_tree tree;
    erofs::memory_reader kept(index.tarindex);
    NEROFS_CHECK(tree.add(kept, kept.size()));
    NEROFS_TRY(erofs::index_image image, erofs::write_index(tree, tree.devices()));
    opened_image out;
    out.metadata_bytes = image.bytes.size();
    out.metadata = std::make_unique<erofs::memory_reader>(std::move(image.bytes));
    out.devices.push_back(std::make_unique<file_reader>(decoded ? std::move(decoded) : std::move(file)));
    if (!index.unresolved.empty()) {
        out.notes.push_back(
            fmt::format("{} hard links lead to layers below this one, and are left out", index.unresolved.size()));
    }
    return out;
}

}  // namespace

layer::compression compression_of(std::span<const std::byte> first) {
    const auto begins = [&](std::initializer_list<unsigned> magic) {
        return first.size() >= magic.size() &&
               std::equal(magic.begin(), magic.end(), first.begin(),
                          [](unsigned a, std::byte b) { return a == std::to_integer<unsigned>(b); });
    };
    if (begins({0x1f, 0x8b})) return layer::compression::gzip;
    if (begins({0x28, 0xb5, 0x2f, 0xfd})) return layer::compression::zstd;
    // zstd's skippable frames, which may come first
    const bool skippable = first.size() >= 4 && (std::to_integer<unsigned>(first[0]) & 0xf0) == 0x50 &&
                           std::to_integer<unsigned>(first[1]) == 0x2a && std::to_integer<unsigned>(first[2]) == 0x4d &&
                           std::to_integer<unsigned>(first[3]) == 0x18;
    return skippable ? layer::compression::zstd : layer::compression::plain;
}

status opened_image::open() {
    std::vector<erofs::byte_reader*> given;
    for (const auto& device : devices) given.push_back(device.get());
    NEROFS_TRY(erofs::reader opened, erofs::reader::open(*metadata, metadata_bytes, std::move(given)));
    files = std::make_unique<erofs::reader>(std::move(opened));
    return {};
}

status opened_image::expect(std::string_view path, erofs::last_symlink last) {
    if (fetched == nullptr) return {};
    std::vector<remote_reader::range> ranges;
    const auto add = [&](std::string_view, const erofs::inode& i) -> status {
        if (i.type != erofs::file_type::regular) return {};
        for (std::uint64_t at = 0; at < i.size;) {
            NEROFS_TRY(const erofs::extent run, files->map(i, at));
            if (run.from == erofs::extent::source::device) ranges.push_back({run.address, run.length});
            at += run.length;
        }
        return {};
    };
    NEROFS_TRY(const erofs::inode top, erofs::resolve(*files, path, last));
    NEROFS_CHECK(top.type == erofs::file_type::directory ? erofs::walk_from(*files, top, add) : add(path, top));
    fetched->expect(std::move(ranges));
    return {};
}

result<opened_image> open_local_image(const std::string& path) {
    const auto opened = [&]() -> result<opened_image> {
        unique_fd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));  // a fifo is refused, not waited for
        if (!file) return fail_errno("open");
        NEROFS_TRY(const std::uint64_t size, size_of(file));
        std::vector<std::byte> first(std::min<std::uint64_t>(size, first_bytes));
        NEROFS_CHECK(os::pread_exact(file, first, 0));
        if (!erofs::has_magic(first)) {
            auto tar = open_tar(std::move(file), size, compression_of(first));
            if (!tar && tar.error().kind == error_kind::corrupt)
                return fail(std::move(tar).error().in("not an EROFS image, and not a sound tar archive"));
            return tar;
        }
        opened_image out;
        out.metadata = std::make_unique<file_reader>(std::move(file));
        out.metadata_bytes = size;
        return out;
    };
    NEROFS_TRY(opened_image image, opened());
    NEROFS_CHECK(image.open());
    return image;
}

result<opened_image> open_remote_image(const cli::source_spec& source, const cli::mount_options& options) {
    NEROFS_TRY(remote_wish wish, remote_wish_of(source, options));
    opened_image out;
    std::string note;
    NEROFS_TRY(std::unique_ptr<remote_reader> reader, open_to_read(std::move(wish), &note));
    if (!note.empty()) out.notes.push_back(std::move(note));
    out.metadata_bytes = reader->bytes();
    out.fetched = reader.get();
    out.metadata = std::move(reader);
    NEROFS_CHECK(out.open());
    return out;
}

}  // namespace nerofs::commands
