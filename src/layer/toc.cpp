#include "layer/toc.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "base/checked.h"
#include "erofs/writer.h"
#include "layer/marked_tree.h"
#include "layer/tar_numbers.h"
#include "layer/text.h"
#include "layer/tree.h"

namespace nerofs::layer {
namespace {

constexpr std::uint64_t known_version = 1;
constexpr unsigned max_depth = 16;
constexpr std::uint16_t permission_bits = 07777;
// What Go's encoder writes for bytes that aren't UTF-8: the name is lost.
constexpr std::string_view lost_bytes = "\xef\xbf\xbd";

// One object of "entries"; numbers that aren't there are 0.
struct toc_entry {
    std::string type;
    std::string name;
    std::string link;
    std::string modtime;
    std::string digest;
    std::string chunk_digest;
    std::string chunk_type;
    std::uint64_t size = 0;
    std::uint64_t mode = 0;
    std::uint64_t uid = 0;
    std::uint64_t gid = 0;
    std::uint64_t major = 0;
    std::uint64_t minor = 0;
    std::uint64_t offset = 0;
    std::uint64_t end_offset = 0;
    std::uint64_t inner_offset = 0;
    std::uint64_t chunk_offset = 0;
    std::uint64_t chunk_size = 0;
    std::vector<erofs::xattr> attributes;  // as base64
};

struct text_field {
    std::string_view name;
    std::string toc_entry::*at;
};
constexpr std::array text_fields = {
    text_field{"type", &toc_entry::type},           text_field{"name", &toc_entry::name},
    text_field{"linkName", &toc_entry::link},       text_field{"modtime", &toc_entry::modtime},
    text_field{"digest", &toc_entry::digest},       text_field{"chunkDigest", &toc_entry::chunk_digest},
    text_field{"chunkType", &toc_entry::chunk_type}};

struct number_field {
    std::string_view name;
    std::uint64_t toc_entry::*at;
};
constexpr std::array number_fields = {
    number_field{"size", &toc_entry::size},
    number_field{"mode", &toc_entry::mode},
    number_field{"uid", &toc_entry::uid},
    number_field{"gid", &toc_entry::gid},
    number_field{"devMajor", &toc_entry::major},
    number_field{"devMinor", &toc_entry::minor},
    number_field{"offset", &toc_entry::offset},
    number_field{"endOffset", &toc_entry::end_offset},
    number_field{"innerOffset", &toc_entry::inner_offset},
    number_field{"chunkOffset", &toc_entry::chunk_offset},
    number_field{"chunkSize", &toc_entry::chunk_size},
};

struct type_name {
    std::string_view name;
    entry_type type;
};
constexpr std::array type_names = {
    type_name{"reg", entry_type::regular},     type_name{"dir", entry_type::directory},
    type_name{"symlink", entry_type::symlink}, type_name{"hardlink", entry_type::hard_link},
    type_name{"char", entry_type::character},  type_name{"block", entry_type::block},
    type_name{"fifo", entry_type::fifo},
};

template <class Fields>
auto find_field(const Fields& fields, std::string_view name) {
    return std::find_if(fields.begin(), fields.end(), [&](const auto& f) { return f.name == name; });
}

tl::unexpected<error> damaged(std::string_view why) {
    return fail(error_kind::corrupt, fmt::format("table of contents: {}", why));
}

tl::unexpected<error> not_enough(std::string_view why) {
    return fail(error_kind::unsupported, fmt::format("table of contents: {}", why));
}

// RFC 3339: "2020-09-13T12:26:40.25Z", "...+01:00".
std::optional<erofs::timestamp> time_of(std::string_view text) {
    const auto number = [&](std::size_t at, std::size_t digits) -> std::optional<unsigned> {
        if (text.size() < at + digits) return std::nullopt;
        const auto value = decimal(text.substr(at, digits));
        return value ? std::optional(static_cast<unsigned>(*value)) : std::nullopt;
    };
    const auto year = number(0, 4);
    const auto month = number(5, 2);
    const auto day = number(8, 2);
    const auto hour = number(11, 2);
    const auto minute = number(14, 2);
    const auto second = number(17, 2);
    if (!year || !month || !day || !hour || !minute || !second || text[4] != '-' || text[7] != '-' || text[10] != 'T' ||
        text[13] != ':' || text[16] != ':' || *hour > 23 || *minute > 59 || *second > 60)
        return std::nullopt;
    const std::chrono::year_month_day date{std::chrono::year(static_cast<int>(*year)), std::chrono::month(*month),
                                           std::chrono::day(*day)};
    if (!date.ok()) return std::nullopt;
    erofs::timestamp time;
    time.seconds = std::int64_t{std::chrono::sys_days(date).time_since_epoch().count()} * 86400 +
                   std::int64_t{*hour * 3600 + *minute * 60 + *second};
    std::size_t at = 19;
    if (at < text.size() && text[at] == '.') {
        std::uint32_t unit = 1'000'000'000;
        for (++at; at < text.size() && text[at] >= '0' && text[at] <= '9'; ++at) {
            unit /= 10;
            time.nanoseconds += unit * static_cast<std::uint32_t>(text[at] - '0');
        }
    }
    const std::string_view zone = text.substr(at);
    if (zone == "Z") return time;
    const auto zone_hours = number(at + 1, 2);
    const auto zone_minutes = number(at + 4, 2);
    if (zone.size() != 6 || (zone[0] != '+' && zone[0] != '-') || zone[3] != ':' || !zone_hours || !zone_minutes)
        return std::nullopt;
    const std::int64_t ahead = std::int64_t{*zone_hours * 3600 + *zone_minutes * 60};
    time.seconds += zone[0] == '+' ? -ahead : ahead;
    return time;
}

bool is_path(std::string_view text) {
    return !text.empty() && text.size() <= tar_path_cap && text.find('\0') == std::string_view::npos;
}

bool loses_bytes(std::string_view text) {
    return text.find(lost_bytes) != std::string_view::npos;
}

std::uint64_t aligned(std::uint64_t size) {
    return (size + tar_block_bytes - 1) / tar_block_bytes * tar_block_bytes;
}

// Entries in, members and chunks out.
class assembler {
  public:
    assembler(toc_kind kind, std::uint64_t data_end, const tar_reader::visitor& each)
        : kind_(kind), data_end_(data_end), each_(each) {}

    status add(toc_entry&& e) {
        if (e.type == "chunk") {
            if (e.name != name_) return damaged("a chunk of another file than that before it");
            return in_file(add_chunk(e));
        }
        NEROFS_CHECK(in_file(end_file()));
        name_ = e.name;
        return in_file(begin(std::move(e)));
    }

    result<toc> finish() {
        NEROFS_CHECK(in_file(end_file()));
        if (open_) NEROFS_CHECK(in_file(close(data_end_)));
        return std::move(out_);
    }

  private:
    status in_file(status done) const { return done ? status() : fail(std::move(done).error().in(shown(name_))); }

    status begin(toc_entry&& e) {
        const auto type = find_field(type_names, e.type);
        if (type == type_names.end()) return not_enough("a type nobody here knows");
        const bool link = type->type == entry_type::symlink || type->type == entry_type::hard_link;
        if (!is_path(e.name) || (link && !is_path(e.link))) return damaged("a path that can't be");
        constexpr std::uint64_t most = std::numeric_limits<std::uint32_t>::max();
        if (e.uid > most || e.gid > most || e.major > most || e.minor > most) return damaged("too large a number");
        tar_entry member;
        member.type = type->type;
        member.path = e.name;
        if (link) member.link_target = std::move(e.link);
        member.permissions = static_cast<std::uint16_t>(e.mode & permission_bits);
        member.uid = static_cast<std::uint32_t>(e.uid);
        member.gid = static_cast<std::uint32_t>(e.gid);
        member.device_major = static_cast<std::uint32_t>(e.major);
        member.device_minor = static_cast<std::uint32_t>(e.minor);
        if (loses_bytes(member.path) || loses_bytes(member.link_target)) return not_enough("a name isn't UTF-8");
        NEROFS_TRY(member.mtime, time(e.modtime));
        NEROFS_TRY(member.attributes, attributes(std::move(e.attributes)));
        if (type->type == entry_type::regular) {
            file_at_ = aligned(out_.content_bytes);
            if (e.size > max_content_bytes - file_at_) return not_enough("too much content");
            member.size = size_ = e.size;
            member.data_offset = file_at_;
            file_end_ = e.end_offset;
            out_.content_bytes = aligned(file_at_ + size_);
            if (size_ != 0) NEROFS_CHECK(add_chunk(e));
        }
        return each_(std::move(member));
    }

    static result<erofs::timestamp> time(std::string_view text) {
        // The latter is Go's for none.
        if (text.empty() || text == "0001-01-01T00:00:00Z") return erofs::timestamp{};
        const auto value = time_of(text);
        if (!value) return damaged("a time that can't be");
        return *value;
    }

    static result<std::vector<erofs::xattr>> attributes(std::vector<erofs::xattr> packed) {
        if (packed.size() > tar_attributes_cap) return not_enough("too many extended attributes");
        std::sort(packed.begin(), packed.end(), [](const auto& a, const auto& b) { return a.name < b.name; });
        for (std::size_t i = 0; i < packed.size(); ++i) {
            erofs::xattr& a = packed[i];
            auto value = base64(a.value);
            if (!value || a.name.empty() || a.name.find('\0') != std::string::npos ||
                (i > 0 && packed[i - 1].name == a.name))
                return damaged("an extended attribute that can't be");
            if (loses_bytes(a.name)) return not_enough("a name isn't UTF-8");
            a.value = std::move(*value);
        }
        return packed;
    }

    status add_chunk(const toc_entry& e) {
        if (e.chunk_offset != covered_ || covered_ >= size_) return damaged("chunks that don't follow one another");
        const std::uint64_t length = e.chunk_size != 0 ? e.chunk_size : size_ - covered_;
        if (length > size_ - covered_) return damaged("chunks beyond the end of the file");
        if (e.inner_offset != 0) return not_enough("a chunk that doesn't begin where it can be decoded");
        const bool hole = kind_ == toc_kind::zstd_chunked && e.chunk_type == "zeros";
        if (!hole && !e.chunk_type.empty()) return not_enough("a chunk of a type nobody here knows");
        if (open_) NEROFS_CHECK(close(e.offset));
        if (!hole) {
            const auto digest =
                codec::sha256_named(!e.chunk_digest.empty() || length != size_ ? e.chunk_digest : e.digest);
            if (!digest) return not_enough("a chunk without a sha256");
            if (length > max_toc_chunk_bytes || out_.chunks.size() == max_toc_chunks)
                return not_enough("too many or too large chunks");
            if (e.offset == 0) return not_enough("a chunk without a place");
            if (e.offset >= data_end_) return damaged("a chunk behind the end of the data");
            if (!out_.chunks.empty() && e.offset < out_.chunks.back().stored_end)
                return not_enough("chunks in another order than in the blob");
            out_.chunks.push_back({file_at_ + covered_, length, e.offset, 0, *digest});
            open_ = true;
        }
        covered_ += length;
        return {};
    }

    status end_file() {
        if (open_ && kind_ == toc_kind::zstd_chunked) NEROFS_CHECK(close(file_end_));
        if (covered_ != size_) return damaged("chunks are missing");
        size_ = covered_ = 0;
        return {};
    }

    // A chunk ends where the next one begins. zstd:chunked tells where a file's last one does.
    status close(std::uint64_t end) {
        toc_chunk& last = out_.chunks.back();
        if (end <= last.stored_offset || end > data_end_) return damaged("a chunk that ends nowhere");
        if (end - last.stored_offset > std::numeric_limits<std::uint32_t>::max())
            return not_enough("a chunk that is too large");
        last.stored_end = end;
        open_ = false;
        return {};
    }

    const toc_kind kind_;
    const std::uint64_t data_end_;
    const tar_reader::visitor& each_;
    toc out_;
    // Of the last member; files without data have nothing to cover.
    std::string name_;
    std::uint64_t file_at_ = 0;
    std::uint64_t size_ = 0;
    std::uint64_t covered_ = 0;
    std::uint64_t file_end_ = 0;
    bool open_ = false;  // the last chunk's end isn't known yet
};

// The parser's events. Each returns whether to go on. What nobody here knows is passed over.
class reader final : public nlohmann::json_sax<nlohmann::json> {
  public:
    explicit reader(assembler& to) : to_(to) {}

    bool null() override { return in_entry() || passed_over(); }  // as if it weren't there
    bool boolean(bool) override { return passed_over(); }
    bool number_integer(std::int64_t) override { return passed_over(); }
    bool number_float(double, const std::string&) override { return passed_over(); }
    bool binary(nlohmann::json::binary_t&) override { return false; }
    bool number_unsigned(std::uint64_t value) override {
        if (depth_ == 1 && key_ == "version") version_ = value;
        const auto known = find_field(number_fields, key_);
        if (!in_entry() || known == number_fields.end()) return passed_over();
        entry_.*(known->at) = value;
        return true;
    }
    bool string(std::string& value) override {
        if (in_attributes_ && depth_ == entry_depth + 1) {
            if (entry_.attributes.size() > tar_attributes_cap) return stop("too many extended attributes");
            entry_.attributes.push_back({attribute_, std::move(value)});
            return true;
        }
        const auto known = find_field(text_fields, key_);
        if (!in_entry() || known == text_fields.end()) return passed_over();
        entry_.*(known->at) = std::move(value);
        return true;
    }
    bool key(std::string& name) override {
        if (depth_ == 1 || in_entry()) {
            key_ = std::move(name);
        } else if (in_attributes_ && depth_ == entry_depth + 1) {
            attribute_ = std::move(name);
        }
        return true;
    }
    bool start_object(std::size_t) override {
        if (in_entry() && key_ == "xattrs") {
            in_attributes_ = true;
        } else if (in_entries_ && depth_ == entry_depth - 1) {
            entry_ = {};
            key_.clear();
        } else if (!passed_over()) {
            return false;
        }
        return deeper();
    }
    bool end_object() override {
        --depth_;
        if (depth_ == entry_depth) in_attributes_ = false;
        if (!in_entries_ || depth_ != entry_depth - 1) return true;
        failed_ = to_.add(std::move(entry_));
        return failed_.has_value();
    }
    bool start_array(std::size_t) override {
        if (depth_ == 1 && key_ == "entries") {
            if (std::exchange(seen_entries_, true)) return stop("two lists of entries");
            in_entries_ = true;
        } else if (!passed_over()) {
            return false;
        }
        return deeper();
    }
    bool end_array() override {
        if (--depth_ == 1) in_entries_ = false;
        return true;
    }
    bool parse_error(std::size_t position, const std::string&, const nlohmann::detail::exception&) override {
        return stop(fmt::format("isn't JSON (at byte {})", position));
    }

    status outcome(bool parsed) {
        if (!parsed) return std::move(failed_);
        if (!seen_entries_) return damaged("no entries");
        if (version_ != known_version) return not_enough(fmt::format("version {}", version_));
        return {};
    }

  private:
    static constexpr unsigned entry_depth = 3;  // the object, the list, an entry

    bool in_entry() const { return in_entries_ && depth_ == entry_depth; }
    // A value that isn't taken, if there is none to be taken here.
    bool passed_over() {
        if (in_entries_ && depth_ == entry_depth - 1) return stop("an entry that is no object");
        if (in_attributes_ && depth_ == entry_depth + 1) return stop("an extended attribute that can't be");
        if (!in_entry()) return true;
        const bool meant = key_ == "xattrs" || find_field(text_fields, key_) != text_fields.end() ||
                           find_field(number_fields, key_) != number_fields.end();
        return !meant || stop(fmt::format("a {} that can't be", key_));
    }
    bool deeper() { return ++depth_ <= max_depth || stop("nested too deeply"); }
    bool stop(std::string_view why) {
        failed_ = damaged(why);
        return false;
    }

    assembler& to_;
    status failed_ = damaged("isn't JSON");
    unsigned depth_ = 0;
    std::string key_;  // the last one of the outermost object or of an entry
    std::string attribute_;
    toc_entry entry_;
    std::uint64_t version_ = 0;
    bool in_entries_ = false;
    bool in_attributes_ = false;
    bool seen_entries_ = false;
};

}  // namespace

result<toc> parse_toc(std::span<const std::byte> json, toc_kind kind, std::uint64_t data_end,
                      const tar_reader::visitor& each) {
    if (json.size() > max_toc_bytes) return not_enough("too large");
    assembler all(kind, data_end, each);
    reader events(all);
    const auto* const text = reinterpret_cast<const char*>(json.data());
    const bool parsed = nlohmann::json::sax_parse(text, text + json.size(), &events);
    NEROFS_CHECK(events.outcome(parsed));
    return all.finish();
}

result<layer_index> index_of_toc(std::span<const std::byte> json, const toc_location& where,
                                 const codec::sha256_digest& stored_digest, std::uint64_t stored_bytes) {
    tree files({.whiteouts = whiteout_mode::as_marks, .keep_unresolved = true});
    NEROFS_TRY(toc table,
               parse_toc(json, where.kind, where.offset, [&](tar_entry&& e) { return files.add(std::move(e)); }));
    NEROFS_CHECK(files.finish());
    if (table.chunks.empty()) return not_enough("it has no data");
    layer_index index;
    index.how = where.kind == toc_kind::estargz ? compression::gzip : compression::zstd;
    index.stored_digest = stored_digest;
    index.stored_bytes = stored_bytes;
    index.content_bytes = table.content_bytes;
    index.chunks = std::move(table.chunks);
    NEROFS_TRY(auto image, erofs::write_index(marked_tree(files), index.content_bytes));
    index.tarindex = std::move(image.bytes);
    index.unresolved = files.unresolved();
    return index;
}

}  // namespace nerofs::layer
