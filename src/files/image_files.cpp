#include "files/image_files.h"

#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cerrno>

namespace nerofs::files {
namespace {

constexpr std::size_t names_cap = 1U << 22;
constexpr std::uint64_t piece_bytes = 1U << 20;

result<listed_file> listed(erofs::reader& image, std::string_view name, erofs::inode i) {
    listed_file out{std::string(name), std::move(i), {}};
    if (out.inode.type == erofs::file_type::symlink) {
        NEROFS_TRY(out.target, image.read_link(out.inode));
    }
    return out;
}

}  // namespace

result<std::vector<listed_file>> list(erofs::reader& image, std::string_view path) {
    NEROFS_TRY(erofs::inode top, erofs::resolve(image, path));
    std::vector<listed_file> out;
    if (top.type != erofs::file_type::directory) {
        NEROFS_TRY(listed_file one, listed(image, path, std::move(top)));
        out.push_back(std::move(one));
        return out;
    }
    status outcome;
    const auto add = [&](const erofs::directory_entry& entry) -> status {
        if (out.size() == names_cap) return fail(error_kind::unsupported, "the directory has too many names");
        NEROFS_TRY(erofs::inode i, image.read_inode(entry.nid));
        NEROFS_TRY(listed_file one, listed(image, entry.name, std::move(i)));
        out.push_back(std::move(one));
        return {};
    };
    NEROFS_CHECK(image.list(top, [&](const erofs::directory_entry& entry) {
        outcome = add(entry);
        return outcome.has_value();
    }));
    NEROFS_CHECK(outcome);
    return out;
}

result<described_file> describe(erofs::reader& image, std::string_view path) {
    NEROFS_TRY(erofs::inode i, erofs::resolve(image, path, erofs::last_symlink::keep));
    described_file out;
    NEROFS_TRY(out.file, listed(image, path, std::move(i)));
    NEROFS_TRY(out.attributes, image.xattrs(out.file.inode));
    return out;
}

status read(erofs::reader& image, const erofs::inode& file, holes what, const byte_sink& sink) {
    if (file.type == erofs::file_type::directory) return fail(error_kind::usage, "is a directory", EISDIR);
    if (file.type != erofs::file_type::regular) return fail(error_kind::usage, "isn't a regular file", EINVAL);
    std::vector<std::byte> piece(std::min(file.size, piece_bytes));
    for (std::uint64_t at = 0; at < file.size;) {
        std::uint64_t length = std::min<std::uint64_t>(piece.size(), file.size - at);
        if (what == holes::skipped) {
            NEROFS_TRY(const erofs::extent run, image.map(file, at));
            if (run.from == erofs::extent::source::zeros) {
                at += run.length;
                continue;
            }
            length = std::min(length, run.length);
        }
        NEROFS_TRY(const std::size_t got, image.read(file, at, std::span(piece).first(length)));
        NEROFS_CHECK(sink(at, std::span(piece).first(got)));
        at += got;
    }
    return {};
}

std::string mode_text(std::uint16_t mode) {
    constexpr std::string_view types = "?pc?d?b?-?l?s???";  // by the top four bits
    std::string out(1, types[mode >> 12]);
    constexpr std::string_view letters = "rwxrwxrwx";
    for (std::size_t i = 0; i < letters.size(); ++i) out += (mode & (0400 >> i)) != 0 ? letters[i] : '-';
    const auto special = [&](unsigned bit, std::size_t at, char with_x, char without) {
        if ((mode & bit) != 0) out[at] = out[at] == 'x' ? with_x : without;
    };
    special(S_ISUID, 3, 's', 'S');
    special(S_ISGID, 6, 's', 'S');
    special(S_ISVTX, 9, 't', 'T');
    return out;
}

std::string_view to_string(erofs::file_type type) {
    constexpr std::array<std::string_view, 7> names = {"file",  "directory", "symlink", "character",
                                                       "block", "fifo",      "socket"};
    return names[static_cast<std::size_t>(type)];
}

}  // namespace nerofs::files
