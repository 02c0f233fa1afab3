#include "erofs/directory.h"

#include <fmt/format.h>

#include <algorithm>

#include "erofs/ondisk.h"

namespace nerofs::erofs {
namespace {

using namespace ondisk;

tl::unexpected<error> damaged(std::string_view why) {
    return fail(error_kind::corrupt, fmt::format("directory is damaged: {}", why));
}

bool name_bytes_ok(std::string_view name) {
    constexpr std::string_view forbidden("/\0", 2);
    return !name.empty() && name.size() <= name_bytes_cap && name.find_first_of(forbidden) == std::string_view::npos;
}

}  // namespace

bool plain_name(std::string_view name) {
    return name_bytes_ok(name) && name != "." && name != "..";
}

result<std::vector<directory_entry>> parse_directory_block(std::span<const std::byte> block) {
    const auto first = load<dirent>(block, 0);
    if (!first) return damaged("it ends within an entry");
    const std::size_t names_start = first->name_offset;
    if (names_start < sizeof(dirent) || names_start % sizeof(dirent) != 0 || names_start >= block.size()) {
        return damaged(fmt::format("its names start at byte {} of {}", names_start, block.size()));
    }
    const std::string_view text(reinterpret_cast<const char*>(block.data()), block.size());
    const std::size_t count = names_start / sizeof(dirent);
    std::vector<directory_entry> entries;
    entries.reserve(count);
    for (std::size_t i = 0; i < count; ++i) {
        const dirent raw = *load<dirent>(block, i * sizeof(dirent));
        const auto next = i + 1 < count ? load<dirent>(block, (i + 1) * sizeof(dirent)) : std::nullopt;
        const std::size_t begin = raw.name_offset;
        std::size_t end = next ? next->name_offset.get() : block.size();
        if (begin < names_start || begin > end || end > block.size())
            return damaged("an entry's name lies outside the names");
        // Only the last name is followed by padding instead of another name.
        if (!next) end = std::min(text.find('\0', begin), block.size());
        const std::string_view name = text.substr(begin, end - begin);
        if (!name_bytes_ok(name)) return damaged("a name is empty, too long, or has a '/' or NUL in it");
        if (!entries.empty() && entries.back().name >= name) return damaged("its names aren't in order");
        entries.push_back({raw.nid, name});
    }
    return entries;
}

}  // namespace nerofs::erofs
