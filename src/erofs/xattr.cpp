#include "erofs/xattr.h"

#include <fmt/format.h>

#include <array>
#include <string_view>

#include "erofs/ondisk.h"

namespace nerofs::erofs {
namespace {

using namespace ondisk;

// EROFS_XATTR_INDEX_*; the two ACLs are whole names.
constexpr std::array<std::string_view, 7> namespaces = {
    "", "user.", "system.posix_acl_access", "system.posix_acl_default", "trusted.", "lustre.", "security."};

tl::unexpected<error> damaged(std::string_view why) {
    return fail(error_kind::corrupt, fmt::format("extended attributes are damaged: {}", why));
}

std::string_view text_of(std::span<const std::byte> bytes) {
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

}  // namespace

result<xattr_body> parse_xattr_body(std::span<const std::byte> bytes) {
    if (bytes.empty()) return xattr_body{};
    const auto header = load<xattr_header>(bytes, 0);
    if (!header) return damaged("their header is cut off");
    const std::size_t shared_end = sizeof(xattr_header) + std::size_t{header->shared_count} * sizeof(le32);
    if (shared_end > bytes.size()) {
        return damaged(fmt::format("{} shared ones don't fit {} bytes", header->shared_count, bytes.size()));
    }
    xattr_body body;
    body.shared_ids.reserve(header->shared_count);
    for (std::size_t at = sizeof(xattr_header); at < shared_end; at += sizeof(le32)) {
        body.shared_ids.push_back(*load<le32>(bytes, at));
    }
    body.entries = bytes.subspan(shared_end);
    return body;
}

std::size_t xattr_entry_bytes(std::span<const std::byte> start) {
    const auto entry = load<xattr_entry>(start, 0).value_or(xattr_entry{});
    const std::size_t length = sizeof(xattr_entry) + entry.name_length + entry.value_length;
    return (length + 3) / 4 * 4;
}

bool xattr_has_long_prefix(std::span<const std::byte> start) {
    const auto entry = load<xattr_entry>(start, 0);
    return entry && (entry->name_index & xattr_long_prefix) != 0;
}

result<std::optional<xattr>> parse_xattr_entry(std::span<const std::byte> entry,
                                               std::span<const xattr_prefix> prefixes) {
    const auto raw = load<xattr_entry>(entry, 0);
    if (!raw || entry.size() - sizeof(xattr_entry) < std::size_t{raw->name_length} + raw->value_length) {
        return damaged("an entry is cut off");
    }
    std::size_t base = raw->name_index;
    std::string_view infix;
    if ((raw->name_index & xattr_long_prefix) != 0) {
        const std::size_t index = raw->name_index & xattr_long_prefix_mask;
        if (index >= prefixes.size()) return std::nullopt;
        base = prefixes[index].base_index;
        infix = prefixes[index].infix;
    }
    if (base == 0 || base >= namespaces.size()) return std::nullopt;
    xattr out;
    out.name = namespaces[base];
    out.name += infix;
    out.name += text_of(entry.subspan(sizeof(xattr_entry), raw->name_length));
    if (out.name == namespaces[base] && out.name.ends_with('.')) return damaged("a name is empty");
    if (out.name.find('\0') != std::string::npos) return damaged("a name has a NUL in it");
    if (out.name.size() > name_bytes_cap)
        return damaged(fmt::format("a name of {} bytes is too long", out.name.size()));
    out.value = text_of(entry.subspan(sizeof(xattr_entry) + raw->name_length, raw->value_length));
    return out;
}

}  // namespace nerofs::erofs
