#include "layer/pax_header.h"

#include <algorithm>
#include <array>

#include "layer/tar_numbers.h"
#include "layer/tar_reader.h"

namespace nerofs::layer {
namespace {

constexpr std::array<std::string_view, 6> keywords = {"path", "linkpath", "size", "mtime", "uid", "gid"};
constexpr std::string_view sparse_group = "GNU.sparse.";
constexpr std::array<std::string_view, 3> keyword_groups = {"SCHILY.xattr.", "LIBARCHIVE.xattr.", sparse_group};
// Bookkeeping of one record in the map, so that many short ones are no cheap way to much memory.
constexpr std::size_t record_overhead = 64;

bool of_use(std::string_view keyword) {
    const auto begins = [&](std::string_view prefix) { return keyword.starts_with(prefix); };
    return std::find(keywords.begin(), keywords.end(), keyword) != keywords.end() ||
           std::any_of(keyword_groups.begin(), keyword_groups.end(), begins);
}

tl::unexpected<error> damaged(std::string_view why) {
    return fail(error_kind::corrupt, "a pax header is damaged: " + std::string(why));
}

}  // namespace

void pax_values::put(std::string_view keyword, std::string_view value) {
    const auto found = records.find(keyword);
    if (found != records.end()) {
        bytes -= found->second.size();
        found->second = value;
    } else {
        records.emplace(keyword, value);
        bytes += keyword.size() + record_overhead;
    }
    bytes += value.size();
}

std::optional<std::string_view> pax_values::find(std::string_view keyword, const pax_values& global) const {
    const auto own = records.find(keyword);
    if (own != records.end()) return own->second.empty() ? std::nullopt : std::optional<std::string_view>(own->second);
    const auto other = global.records.find(keyword);
    if (other == global.records.end() || other->second.empty()) return std::nullopt;
    return other->second;
}

bool pax_values::sparse() const {
    const auto first = records.lower_bound(sparse_group);
    return first != records.end() && first->first.starts_with(sparse_group);
}

status parse_pax(std::string_view body, pax_values& into) {
    while (!body.empty()) {
        const std::size_t blank = body.find(' ');
        const auto length = blank == std::string_view::npos ? std::nullopt : decimal(body.substr(0, blank));
        if (!length) return damaged("a record has no length");
        if (*length > body.size() || *length < blank + 2) return damaged("a record's length is wrong");
        std::string_view record = body.substr(0, *length);
        body.remove_prefix(*length);
        if (!record.ends_with('\n')) return damaged("a record doesn't end where its length says");
        record = record.substr(blank + 1, record.size() - blank - 2);
        const std::size_t equals = record.find('=');
        if (equals == std::string_view::npos || equals == 0) return damaged("a record has no keyword");
        const std::string_view keyword = record.substr(0, equals);
        const std::string_view value = record.substr(equals + 1);
        if (keyword.find('\0') != std::string_view::npos) return damaged("a keyword has a NUL in it");
        if (!of_use(keyword)) continue;
        into.put(keyword, value);
        if (into.bytes > tar_pax_cap) return fail(error_kind::unsupported, "its pax headers are too long");
    }
    return {};
}

}  // namespace nerofs::layer
