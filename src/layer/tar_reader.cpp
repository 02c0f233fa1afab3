#include "layer/tar_reader.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "base/checked.h"
#include "layer/pax_header.h"
#include "layer/tar_numbers.h"
#include "layer/text.h"

namespace nerofs::layer {
namespace {

using block = std::span<const std::byte, tar_block_bytes>;

constexpr std::uint64_t file_size_cap = std::numeric_limits<std::int64_t>::max() - tar_block_bytes;
constexpr std::string_view schily = "SCHILY.xattr.";
constexpr std::string_view libarchive = "LIBARCHIVE.xattr.";

// Where the fields lie in a header (ustar's, of which v7's are the first ones).
struct field {
    std::size_t offset;
    std::size_t length;
};
constexpr field name_field{0, 100};
constexpr field mode_field{100, 8};
constexpr field uid_field{108, 8};
constexpr field gid_field{116, 8};
constexpr field size_field{124, 12};
constexpr field mtime_field{136, 12};
constexpr field type_field{156, 1};
constexpr field link_field{157, 100};
constexpr field magic_field{257, 8};  // with the version
constexpr field major_field{329, 8};
constexpr field minor_field{337, 8};
constexpr field prefix_field{345, 155};
constexpr field star_prefix_field{345, 131};
constexpr field star_trailer_field{508, 4};

std::string_view raw(block header, field f) {
    return {reinterpret_cast<const char*>(header.data()) + f.offset, f.length};
}

std::string_view text(block header, field f) {
    const std::string_view all = raw(header, f);
    return all.substr(0, all.find('\0'));
}

bool all_zeros(block header) {
    return std::all_of(header.begin(), header.end(), [](std::byte b) { return b == std::byte{0}; });
}

std::string path_of(block header) {
    const std::string_view magic = raw(header, magic_field);
    field prefix{0, 0};
    if (magic.starts_with(std::string_view("ustar\0", 6))) {
        const bool star = raw(header, star_trailer_field) == std::string_view("tar\0", 4);
        prefix = star ? star_prefix_field : prefix_field;
    }
    std::string path(text(header, prefix));
    if (!path.empty()) path += '/';
    return path += text(header, name_field);
}

// Owners are 32 bits to the kernel; -2 in base-256 is how some write nobody.
std::optional<std::uint32_t> owner(std::int64_t number) {
    if (number > std::numeric_limits<std::uint32_t>::max() || number < std::numeric_limits<std::int32_t>::min()) {
        return std::nullopt;
    }
    return static_cast<std::uint32_t>(number);
}

std::uint64_t padded(std::uint64_t size) {
    return (size + tar_block_bytes - 1) / tar_block_bytes * tar_block_bytes;
}

}  // namespace

struct tar_reader::state {
    enum class extended : std::uint8_t { none, pax, pax_global, long_path, long_link };

    explicit state(visitor e) : each(std::move(e)) {}

    visitor each;
    status outcome;            // the first error, kept
    std::uint64_t offset = 0;  // of the next byte to come
    std::size_t gathered = 0;  // bytes in `partial`
    std::array<std::byte, tar_block_bytes> partial{};
    std::uint64_t to_skip = 0;  // data and padding of a member
    std::uint64_t padding = 0;  // ... of these the last
    unsigned zero_blocks = 0;
    std::uint64_t header_offset = 0;

    extended reading = extended::none;  // whose body comes
    std::string body;
    std::uint64_t body_size = 0;

    pax_values global;
    pax_values local;
    std::optional<std::string> long_path;
    std::optional<std::string> long_link;

    status take_block(block b);
    status take_header(block header);
    status take_body();
    status begin_extended(extended what, std::uint64_t size);
    status take_member(block header, char type);
    status name_member(block header, char type, tar_entry& entry);
    status take_numbers(block header, tar_entry& entry);
    status take_attributes(tar_entry& entry);
    status add_attribute(const std::string& keyword, const std::string& value, std::vector<erofs::xattr>& to);
    status take_size(block header, tar_entry& entry);
    result<std::int64_t> number(block header, field f, std::string_view what) const;
    tl::unexpected<error> damaged(std::string_view why) const {
        return fail(error_kind::corrupt, fmt::format("tar header at {}: {}", header_offset, why));
    }
};

result<std::int64_t> tar_reader::state::number(block header, field f, std::string_view what) const {
    const auto value = tar_number(raw(header, f));
    if (!value) return damaged(fmt::format("its {} isn't a number", what));
    return *value;
}

status tar_reader::state::take_block(block b) {
    if (reading == extended::none) return take_header(b);
    const auto here = static_cast<std::size_t>(std::min<std::uint64_t>(body_size - body.size(), b.size()));
    body.append(reinterpret_cast<const char*>(b.data()), here);
    return body.size() == body_size ? take_body() : status{};
}

status tar_reader::state::take_header(block header) {
    header_offset = offset - tar_block_bytes;
    if (all_zeros(header)) {
        if (long_path || long_link || !local.records.empty()) return damaged("the archive ends behind half a header");
        ++zero_blocks;
        return {};
    }
    if (zero_blocks != 0) return damaged("follows a lone block of zeros");
    if (!checksum_right(header)) {
        return damaged(header_offset == 0 ? "not a tar archive" : "its checksum is wrong");
    }
    const char type = raw(header, type_field).front();
    NEROFS_TRY(const std::int64_t size, number(header, size_field, "size"));
    if (size < 0) return damaged("its size is negative");
    switch (type) {
        case 'x':
        case 'X':  // Solaris' pax
            return begin_extended(extended::pax, static_cast<std::uint64_t>(size));
        case 'g':
            return begin_extended(extended::pax_global, static_cast<std::uint64_t>(size));
        case 'L':
            return begin_extended(extended::long_path, static_cast<std::uint64_t>(size));
        case 'K':
            return begin_extended(extended::long_link, static_cast<std::uint64_t>(size));
        case 'V':  // the archive's label
            to_skip = padded(static_cast<std::uint64_t>(size));
            padding = 0;
            return {};
        default:
            return take_member(header, type);
    }
}

status tar_reader::state::begin_extended(extended what, std::uint64_t size) {
    const bool name = what == extended::long_path || what == extended::long_link;
    if (size > (name ? tar_path_cap + 1 : tar_pax_cap)) {
        return fail(error_kind::unsupported, fmt::format("tar header at {}: a {} of {} bytes is too long",
                                                         header_offset, name ? "path" : "pax header", size));
    }
    reading = what;
    body.clear();
    body_size = size;
    return size == 0 ? take_body() : status{};
}

status tar_reader::state::take_body() {
    const extended what = std::exchange(reading, extended::none);
    if (what == extended::pax || what == extended::pax_global) {
        if (what == extended::pax) local = {};
        auto parsed = parse_pax(body, what == extended::pax ? local : global);
        if (!parsed) {
            const auto path = local.find("path", global);
            return fail(
                std::move(parsed).error().in(path ? shown(*path) : fmt::format("tar header at {}", header_offset)));
        }
        return {};
    }
    std::string name = body.substr(0, body.find('\0'));
    if (name.empty()) return damaged("a long name is empty");
    (what == extended::long_path ? long_path : long_link) = std::move(name);
    return {};
}

status tar_reader::state::name_member(block header, char type, tar_entry& entry) {
    // Go's order: GNU's long names win over pax.
    if (long_path) {
        entry.path = *long_path;
    } else if (const auto path = local.find("path", global)) {
        entry.path = *path;
    } else {
        entry.path = path_of(header);
    }
    if (local.sparse() || global.sparse() || type == 'S') {
        const auto real = local.find("GNU.sparse.name", global);
        return fail(make_error(error_kind::unsupported, shown(real ? *real : std::string_view(entry.path)) +
                                                            ": is a GNU sparse file, which an index can't point into")
                        .with_hint("write the archive without --sparse"));
    }
    if (entry.path.empty()) return damaged("a member has no name");
    if (entry.path.find('\0') != std::string::npos) return damaged("a path has a NUL in it");
    if (entry.path.size() > tar_path_cap) {
        return fail(error_kind::unsupported, shown(entry.path) + ": the path is too long");
    }
    switch (type) {
        case '\0':
        case '0':
        case '7':  // contiguous: as if regular
            entry.type = entry.path.ends_with('/') ? entry_type::directory : entry_type::regular;
            break;
        case '1':
            entry.type = entry_type::hard_link;
            break;
        case '2':
            entry.type = entry_type::symlink;
            break;
        case '3':
            entry.type = entry_type::character;
            break;
        case '4':
            entry.type = entry_type::block;
            break;
        case '5':
            entry.type = entry_type::directory;
            break;
        case '6':
            entry.type = entry_type::fifo;
            break;
        case 'M':
            return fail(error_kind::unsupported, shown(entry.path) + ": is continued from another archive");
        default:
            return fail(error_kind::unsupported,
                        fmt::format("{}: members of type {} aren't known", shown(entry.path), shown({&type, 1})));
    }
    if (entry.type != entry_type::hard_link && entry.type != entry_type::symlink) return {};
    if (long_link) {
        entry.link_target = *long_link;
    } else if (const auto target = local.find("linkpath", global)) {
        entry.link_target = *target;
    } else {
        entry.link_target = text(header, link_field);
    }
    if (entry.link_target.empty()) return damaged("a link has no target");
    if (entry.link_target.find('\0') != std::string::npos) return damaged("a link's target has a NUL in it");
    if (entry.link_target.size() > tar_path_cap) {
        return fail(error_kind::unsupported, shown(entry.path) + ": the target is too long");
    }
    return {};
}

status tar_reader::state::take_numbers(block header, tar_entry& entry) {
    NEROFS_TRY(const std::int64_t mode, number(header, mode_field, "mode"));
    entry.permissions = static_cast<std::uint16_t>(mode & 07777);
    for (const bool user : {true, false}) {
        std::optional<std::uint32_t> id;
        if (const auto value = local.find(user ? "uid" : "gid", global)) {
            const auto given = decimal(*value);
            if (given && *given <= std::numeric_limits<std::uint32_t>::max()) id = static_cast<std::uint32_t>(*given);
        } else {
            NEROFS_TRY(const std::int64_t given, number(header, user ? uid_field : gid_field, "owner"));
            id = owner(given);
        }
        if (!id) return damaged("its owner isn't a number of 32 bits");
        (user ? entry.uid : entry.gid) = *id;
    }
    if (const auto value = local.find("mtime", global)) {
        const auto time = pax_time(*value);
        if (!time) return damaged("its time isn't a number");
        entry.mtime = *time;
    } else {
        NEROFS_TRY(entry.mtime.seconds, number(header, mtime_field, "time"));
    }
    if (entry.type == entry_type::character || entry.type == entry_type::block) {
        NEROFS_TRY(const std::int64_t device_major, number(header, major_field, "device number"));
        NEROFS_TRY(const std::int64_t device_minor, number(header, minor_field, "device number"));
        // What the kernel's 32-bit device numbers have room for.
        if (device_major < 0 || device_major >= 1 << 12 || device_minor < 0 || device_minor >= 1 << 20) {
            return damaged("its device number isn't one");
        }
        entry.device_major = static_cast<std::uint32_t>(device_major);
        entry.device_minor = static_cast<std::uint32_t>(device_minor);
    }
    return {};
}

status tar_reader::state::add_attribute(const std::string& keyword, const std::string& value,
                                        std::vector<erofs::xattr>& to) {
    erofs::xattr attribute;
    if (keyword.starts_with(schily)) {
        attribute = {keyword.substr(schily.size()), value};
    } else if (keyword.starts_with(libarchive)) {
        auto name = url_decoded(std::string_view(keyword).substr(libarchive.size()));
        auto decoded = base64(value);
        if (!name || !decoded) return damaged("an extended attribute is wrongly encoded");
        attribute = {std::move(*name), std::move(*decoded)};
    } else {
        return {};
    }
    if (attribute.name.empty() || attribute.name.find('\0') != std::string::npos) {
        return damaged("an extended attribute has no proper name");
    }
    const auto at =
        std::lower_bound(to.begin(), to.end(), attribute, [](const auto& a, const auto& b) { return a.name < b.name; });
    if (at != to.end() && at->name == attribute.name) {
        at->value = std::move(attribute.value);
    } else {
        to.insert(at, std::move(attribute));
    }
    return {};
}

status tar_reader::state::take_attributes(tar_entry& entry) {
    // Global ones first, own ones over them. Of both spellings of one name SCHILY's stays: its keywords sort later.
    for (const pax_values* values : {&global, &local}) {
        for (const auto& [keyword, value] : values->records) {
            NEROFS_CHECK(add_attribute(keyword, value, entry.attributes));
            if (entry.attributes.size() > tar_attributes_cap) {
                return fail(error_kind::unsupported, shown(entry.path) + ": has too many extended attributes");
            }
        }
    }
    return {};
}

status tar_reader::state::take_size(block header, tar_entry& entry) {
    if (entry.type != entry_type::regular) return {};
    if (const auto value = local.find("size", global)) {
        const auto given = decimal(*value);
        if (!given) return damaged("its size isn't a number");
        entry.size = *given;
    } else {
        NEROFS_TRY(const std::int64_t given, number(header, size_field, "size"));
        entry.size = static_cast<std::uint64_t>(given);  // take_header() saw that it isn't negative
    }
    const auto end = checked_add(entry.size, offset);
    if (!end || *end > file_size_cap) return damaged("its size is beyond any file's");
    entry.data_offset = offset;
    to_skip = padded(entry.size);
    padding = to_skip - entry.size;
    return {};
}

status tar_reader::state::take_member(block header, char type) {
    tar_entry entry;
    NEROFS_CHECK(name_member(header, type, entry));
    NEROFS_CHECK(take_numbers(header, entry));
    NEROFS_CHECK(take_attributes(entry));
    NEROFS_CHECK(take_size(header, entry));
    local = {};
    long_path.reset();
    long_link.reset();
    return each(std::move(entry));
}

tar_reader::tar_reader(visitor each) : state_(std::make_unique<state>(std::move(each))) {}
tar_reader::tar_reader(tar_reader&&) noexcept = default;
tar_reader& tar_reader::operator=(tar_reader&&) noexcept = default;
tar_reader::~tar_reader() = default;

status tar_reader::push(std::span<const std::byte> bytes) {
    state& s = *state_;
    while (s.outcome && !bytes.empty() && !end_marked()) {
        if (s.to_skip > 0) {
            const auto here = static_cast<std::size_t>(std::min<std::uint64_t>(s.to_skip, bytes.size()));
            s.to_skip -= here;
            s.offset += here;
            bytes = bytes.subspan(here);
            continue;
        }
        if (s.gathered == 0 && bytes.size() >= tar_block_bytes) {
            s.offset += tar_block_bytes;
            s.outcome = s.take_block(bytes.first<tar_block_bytes>());
            bytes = bytes.subspan(tar_block_bytes);
            continue;
        }
        const std::size_t here = std::min(tar_block_bytes - s.gathered, bytes.size());
        std::memcpy(s.partial.data() + s.gathered, bytes.data(), here);
        s.gathered += here;
        s.offset += here;
        bytes = bytes.subspan(here);
        if (s.gathered == tar_block_bytes) {
            s.gathered = 0;
            s.outcome = s.take_block(s.partial);
        }
    }
    return s.outcome;
}

status tar_reader::finish() {
    state& s = *state_;
    if (s.outcome && !end_marked()) {
        const bool within = s.to_skip > s.padding || s.gathered > 0 || s.reading != state::extended::none ||
                            s.long_path || s.long_link || !s.local.records.empty();
        if (s.offset == 0) {
            s.outcome = fail(error_kind::corrupt, "not a tar archive: it is empty");
        } else if (within) {
            s.outcome = fail(error_kind::corrupt, fmt::format("the tar archive is cut off after {} bytes", s.offset));
        }
    }
    return s.outcome;
}

bool tar_reader::end_marked() const {
    return state_->zero_blocks == 2;
}

std::uint64_t tar_reader::archive_bytes() const {
    return state_->offset;
}

}  // namespace nerofs::layer
