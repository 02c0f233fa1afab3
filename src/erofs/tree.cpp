#include "erofs/tree.h"

#include <fmt/format.h>

#include <cerrno>
#include <string>
#include <unordered_set>
#include <utility>
#include <vector>

#include "erofs/ondisk.h"

namespace nerofs::erofs {
namespace {

constexpr std::size_t path_bytes_cap = 4096;  // PATH_MAX
constexpr unsigned symlinks_cap = 40;         // the kernel's MAXSYMLINKS

// User input and names of an image, fit for one line of an error.
std::string quoted(std::string_view text) {
    constexpr std::size_t shown_cap = 200;
    std::string out = "'";
    for (const char c : text.substr(0, shown_cap)) {
        const auto byte = static_cast<unsigned char>(c);
        if (byte >= 0x20 && byte != 0x7f) {
            out += c;
        } else {
            out += fmt::format("\\x{:02x}", byte);
        }
    }
    if (text.size() > shown_cap) out += "...";
    return out + "'";
}

struct directory_to_do {
    inode self;
    std::string path;
};

}  // namespace

status walk(reader& image, const std::function<status(std::string_view path, const inode&)>& each,
            const walk_limits& limits) {
    NEROFS_TRY(const inode root, image.root());
    return walk_from(image, root, each, limits);
}

status walk_from(reader& image, const inode& top,
                 const std::function<status(std::string_view path, const inode&)>& each, const walk_limits& limits) {
    NEROFS_CHECK(each("", top));
    std::unordered_set<std::uint64_t> seen{top.nid};
    std::vector<directory_to_do> to_do;
    to_do.push_back({top, ""});
    std::uint64_t names = 0;
    while (!to_do.empty()) {
        const directory_to_do here = std::move(to_do.back());
        to_do.pop_back();
        std::string path = here.path;
        if (!path.empty()) path += '/';
        const std::size_t prefix = path.size();
        status outcome;
        const auto visit = [&](const directory_entry& entry) -> status {
            if (++names > limits.names) {
                return fail(error_kind::unsupported,
                            fmt::format("the image has more than {} names", with_commas(limits.names)));
            }
            path.resize(prefix);
            path += entry.name;
            if (path.size() > limits.path_bytes) {
                return fail(error_kind::unsupported,
                            fmt::format("a path is longer than {} bytes", with_commas(limits.path_bytes)));
            }
            NEROFS_TRY(const inode child, image.read_inode(entry.nid));
            if (child.type == file_type::directory && !seen.insert(child.nid).second) {
                return fail(error_kind::corrupt,
                            fmt::format("directory {} ({}) is met twice", quoted(path), inode_name(child.nid)));
            }
            NEROFS_CHECK(each(path, child));
            if (child.type == file_type::directory) to_do.push_back({child, path});
            return {};
        };
        NEROFS_CHECK(image.list(here.self, [&](const directory_entry& entry) {
            outcome = visit(entry);
            return outcome.has_value();
        }));
        NEROFS_CHECK(outcome);
    }
    return {};
}

result<inode> resolve(reader& image, std::string_view path, last_symlink last) {
    const auto failed = [&](error_kind kind, std::string_view why, int code) {
        return fail(kind, fmt::format("{}: {}", quoted(path), why), code);
    };
    if (path.empty()) return failed(error_kind::not_found, "no such file in the image", ENOENT);
    if (path.size() >= path_bytes_cap) return failed(error_kind::usage, "the path is too long", ENAMETOOLONG);

    NEROFS_TRY(const inode root, image.root());
    std::vector<inode> trail{root};  // the directories above, then what was found last
    std::string rest(path);
    unsigned symlinks = 0;
    while (!rest.empty()) {
        const std::size_t begin = rest.find_first_not_of('/');
        // What a '/' follows must be a directory, also at the very end.
        if (begin != 0 && trail.back().type != file_type::directory) {
            return failed(error_kind::not_found, "a part of it isn't a directory", ENOTDIR);
        }
        if (begin == std::string::npos) break;
        const std::size_t end = std::min(rest.find('/', begin), rest.size());
        const std::string name = rest.substr(begin, end - begin);
        rest.erase(0, end);
        if (name == ".") continue;
        if (name == "..") {
            if (trail.size() > 1) trail.pop_back();
            continue;
        }
        if (name.size() > ondisk::name_bytes_cap)
            return failed(error_kind::usage, "a name in it is too long", ENAMETOOLONG);
        NEROFS_TRY(const std::optional<std::uint64_t> nid, image.lookup(trail.back(), name));
        if (!nid) return failed(error_kind::not_found, "no such file in the image", ENOENT);
        NEROFS_TRY(inode found, image.read_inode(*nid));
        if (found.type != file_type::symlink || (rest.empty() && last == last_symlink::keep)) {
            trail.push_back(std::move(found));
            continue;
        }
        if (++symlinks > symlinks_cap) return failed(error_kind::usage, "too many symlinks", ELOOP);
        NEROFS_TRY(const std::string target, image.read_link(found));
        if (target.front() == '/') trail.resize(1);
        rest.insert(0, target);
        if (rest.size() >= 2 * path_bytes_cap) return failed(error_kind::usage, "the path is too long", ENAMETOOLONG);
    }
    return std::move(trail.back());
}

}  // namespace nerofs::erofs
