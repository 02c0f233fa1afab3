#include "layer/layer_index.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <string>
#include <utility>

#include "base/checked.h"
#include "base/endian.h"
#include "codec/hex.h"
#include "codec/zstd_bytes.h"
#include "layer/tar_reader.h"

namespace nerofs::layer {
namespace {

constexpr std::array<char, 8> magic_of_file{'n', 'e', 'r', 'o', 'f', 's', 'L', 'I'};
constexpr std::uint32_t version_of_file = 1;
constexpr int window_level = 3;
constexpr int tarindex_level = 6;

struct file_header {
    std::array<char, 8> magic;
    le32 version;
    std::uint8_t how;
    std::uint8_t by_chunks;
    std::array<std::uint8_t, 2> zeros;
    codec::sha256_digest stored_digest;
    le64 stored_bytes;
    codec::sha256_digest content_digest;
    le64 content_bytes;
    le32 unit_bytes;
    le32 units;  // or chunks
    le32 checkpoints;
    le32 links;
    le64 tarindex_bytes;  // in the file
    le64 link_bytes;      // in the file
};
static_assert(sizeof(file_header) == 128 && alignof(file_header) == 1);

struct file_checkpoint {
    le64 stored_offset;
    le64 content_offset;
    le16 window_bytes;  // in the file
    std::uint8_t bits;
    std::uint8_t zero;
};
static_assert(sizeof(file_checkpoint) == 20 && alignof(file_checkpoint) == 1);

struct file_chunk {
    le64 content_offset;
    le64 stored_offset;
    le32 length;
    le32 stored_bytes;
    codec::sha256_digest digest;
};
static_assert(sizeof(file_chunk) == 56 && alignof(file_chunk) == 1);

struct file_link {
    le16 path_bytes;
    le16 target_bytes;
};
static_assert(sizeof(file_link) == 4 && alignof(file_link) == 1);

tl::unexpected<error> corrupt(std::string why) {
    return fail(error_kind::corrupt, "layer index: " + std::move(why));
}

// What is left of the file. What isn't there is an error, before anything is allocated for it.
class cursor {
  public:
    explicit cursor(std::span<const std::byte> bytes) : left_(bytes) {}

    result<std::span<const std::byte>> take(std::uint64_t bytes) {
        if (bytes > left_.size()) return corrupt("cut off");
        const auto taken = left_.first(static_cast<std::size_t>(bytes));
        left_ = left_.subspan(taken.size());
        return taken;
    }
    template <class T>
    result<T> get() {
        NEROFS_TRY(const auto bytes, take(sizeof(T)));
        T value;
        std::memcpy(&value, bytes.data(), sizeof value);
        return value;
    }
    bool empty() const { return left_.empty(); }

  private:
    std::span<const std::byte> left_;
};

template <class T>
void put(std::vector<std::byte>& to, const T& value) {
    const auto bytes = std::as_bytes(std::span(&value, 1));
    to.insert(to.end(), bytes.begin(), bytes.end());
}

void append(std::vector<std::byte>& to, std::span<const std::byte> bytes) {
    to.insert(to.end(), bytes.begin(), bytes.end());
}

// Why `next` can't follow `last` (nullptr: `next` is the first), or nothing.
const char* wrong(const layer_index& in, const checkpoint* last, const checkpoint& next) {
    if (next.stored_offset >= in.stored_bytes || next.content_offset >= in.content_bytes) return "is behind the end";
    if (last == nullptr && next.content_offset != 0) return "isn't the start";
    if (last != nullptr && (next.stored_offset <= last->stored_offset || next.content_offset <= last->content_offset))
        return "isn't behind the one before";
    if (next.bits > (in.how == compression::gzip ? 7 : 0) || (next.bits != 0 && next.stored_offset == 0))
        return "begins within no byte";
    if (next.window.empty()) return nullptr;
    const auto window = codec::zstd_unpacked_bytes(next.window);
    if (in.how != compression::gzip || !window || *window > std::min(codec::gzip_window_bytes, next.content_offset))
        return "has no proper window";
    return nullptr;
}

// Why `next` can't follow what ends at these offsets, or nothing.
const char* wrong(const layer_index& in, std::uint64_t content_end, std::uint64_t stored_end, const toc_chunk& next) {
    if (next.length == 0 || next.length > max_toc_chunk_bytes) return "has no proper length";
    if (next.content_offset < content_end || next.stored_offset < stored_end) return "isn't behind the one before";
    if (!range_within(next.content_offset, next.length, in.content_bytes)) return "is behind the end";
    if (next.stored_end <= next.stored_offset || next.stored_end > in.stored_bytes ||
        next.stored_end - next.stored_offset > UINT32_MAX)
        return "is stored nowhere";
    return nullptr;
}

status check_chunks(const layer_index& in) {
    if (in.how == compression::plain || in.content_digest != codec::sha256_digest{} || !in.units.empty() ||
        !in.checkpoints.empty() || in.chunks.size() > max_toc_chunks)
        return corrupt("chunks and what doesn't go with them");
    std::uint64_t content_end = 0;
    std::uint64_t stored_end = 0;
    for (const toc_chunk& next : in.chunks) {
        if (const char* why = wrong(in, content_end, stored_end, next))
            return corrupt(fmt::format("chunk {} {}", &next - in.chunks.data(), why));
        content_end = next.content_offset + next.length;
        stored_end = next.stored_end;
    }
    return {};
}

// There is at least one.
result<std::vector<toc_chunk>> read_chunks(cursor& from, std::uint32_t count) {
    if (count == 0) return corrupt("no chunks");
    NEROFS_TRY(const auto table, from.take(std::uint64_t{count} * sizeof(file_chunk)));
    cursor entries(table);
    std::vector<toc_chunk> chunks(count);
    for (toc_chunk& c : chunks) {
        NEROFS_TRY(const file_chunk entry, entries.get<file_chunk>());
        c = {entry.content_offset, entry.length, entry.stored_offset, entry.stored_offset + entry.stored_bytes,
             entry.digest};
    }
    return chunks;
}

// All but the tree and the links.
status check(const layer_index& in) {
    if (in.content_bytes == 0 || in.content_bytes > max_content_bytes) return corrupt("a content of no proper size");
    if (!std::has_single_bit(in.unit_bytes) || in.unit_bytes < min_unit_bytes || in.unit_bytes > max_unit_bytes)
        return corrupt("units of no proper size");
    if (!in.chunks.empty()) return check_chunks(in);
    if (in.units.size() != in.unit_count() || in.units.size() > max_units) return corrupt("not a digest for each unit");
    if (in.checkpoints.size() > max_checkpoints) return corrupt("too many checkpoints");
    if (in.how == compression::plain) {
        if (in.stored_bytes != in.content_bytes || in.stored_digest != in.content_digest || !in.checkpoints.empty())
            return corrupt("a plain layer whose content is another");
        return {};
    }
    if (in.checkpoints.empty()) return corrupt("no checkpoints");
    const checkpoint* last = nullptr;
    for (const checkpoint& next : in.checkpoints) {
        if (const char* why = wrong(in, last, next))
            return corrupt(fmt::format("checkpoint {} {}", &next - in.checkpoints.data(), why));
        last = &next;
    }
    return {};
}

bool proper_length(std::size_t path) {
    return path != 0 && path <= tar_path_cap;
}

result<std::vector<std::byte>> packed_links(std::span<const tree::unresolved_link> links) {
    std::vector<std::byte> text;
    for (const auto& [path, target] : links) {
        if (!proper_length(path.size()) || !proper_length(target.size())) return corrupt("a link of no proper length");
        put(text, file_link{static_cast<std::uint16_t>(path.size()), static_cast<std::uint16_t>(target.size())});
        append(text, std::as_bytes(std::span(path)));
        append(text, std::as_bytes(std::span(target)));
        if (text.size() > max_link_bytes) return corrupt("too many links");
    }
    return codec::zstd_packed(text, tarindex_level);
}

result<std::vector<tree::unresolved_link>> unpacked_links(std::span<const std::byte> packed, std::uint32_t count) {
    auto text = codec::zstd_unpacked(packed, max_link_bytes);
    if (!text) return corrupt("its links: " + text.error().text);
    if (count > text->size() / sizeof(file_link)) return corrupt("fewer links than it says");
    cursor from(*text);
    std::vector<tree::unresolved_link> links(count);
    for (auto& link : links) {
        NEROFS_TRY(const file_link lengths, from.get<file_link>());
        for (const auto& [to, length] :
             {std::pair(&link.path, lengths.path_bytes.get()), std::pair(&link.target, lengths.target_bytes.get())}) {
            if (!proper_length(length)) return corrupt("a link of no proper length");
            NEROFS_TRY(const auto bytes, from.take(length));
            to->assign(reinterpret_cast<const char*>(bytes.data()), bytes.size());
        }
    }
    if (!from.empty()) return corrupt("more links than it says");
    return links;
}

}  // namespace

std::string_view to_string(compression how) {
    switch (how) {
        case compression::plain:
            return "plain";
        case compression::gzip:
            return "gzip";
        case compression::zstd:
            return "zstd";
    }
    return "unknown";
}

result<std::vector<std::byte>> layer_index::encode() const {
    const auto refused = [](error e) {
        e.kind = error_kind::usage;
        return fail(std::move(e));
    };
    if (const auto checked = check(*this); !checked) return refused(checked.error());
    if (tarindex.size() > max_tarindex_bytes)
        return fail(error_kind::usage, "layer index: its tree has too much metadata");
    const auto links = packed_links(unresolved);
    if (!links) return refused(links.error());
    const auto packed_tree = codec::zstd_packed(tarindex, tarindex_level);

    std::vector<std::byte> file;
    file_header head{.magic = magic_of_file,
                     .version = version_of_file,
                     .how = static_cast<std::uint8_t>(how),
                     .by_chunks = !chunks.empty(),
                     .zeros = {},
                     .stored_digest = stored_digest,
                     .stored_bytes = stored_bytes,
                     .content_digest = content_digest,
                     .content_bytes = content_bytes,
                     .unit_bytes = unit_bytes,
                     .units = static_cast<std::uint32_t>(chunks.empty() ? units.size() : chunks.size()),
                     .checkpoints = static_cast<std::uint32_t>(checkpoints.size()),
                     .links = static_cast<std::uint32_t>(unresolved.size()),
                     .tarindex_bytes = packed_tree.size(),
                     .link_bytes = links->size()};
    put(file, head);
    append(file, std::as_bytes(std::span(units)));
    for (const toc_chunk& c : chunks)
        put(file, file_chunk{c.content_offset, c.stored_offset, static_cast<std::uint32_t>(c.length),
                             static_cast<std::uint32_t>(c.stored_end - c.stored_offset), c.digest});
    for (const checkpoint& c : checkpoints) {
        // check() has seen that it unpacks to 32 KiB at most; a frame may still be larger than it need be.
        if (c.window.size() > UINT16_MAX) return fail(error_kind::usage, "layer index: a window isn't packed");
        put(file,
            file_checkpoint{c.stored_offset, c.content_offset, static_cast<std::uint16_t>(c.window.size()), c.bits, 0});
    }
    for (const checkpoint& c : checkpoints) append(file, c.window);
    append(file, packed_tree);
    append(file, *links);
    put(file, codec::sha256::of(file));
    return file;
}

result<layer_index> layer_index::parse(std::span<const std::byte> file, std::uint64_t most_tarindex_bytes) {
    if (file.size() < sizeof(file_header) + sizeof(codec::sha256_digest)) return corrupt("cut off");
    file_header head;
    std::memcpy(&head, file.data(), sizeof head);
    if (head.magic != magic_of_file) return corrupt("it isn't one");
    if (head.version != version_of_file)
        return fail(error_kind::unsupported, fmt::format("layer index: version {}", head.version.get()));
    const auto body = file.first(file.size() - sizeof(codec::sha256_digest));
    const codec::sha256_digest digest = codec::sha256::of(body);
    if (std::memcmp(digest.data(), file.data() + body.size(), digest.size()) != 0)
        return corrupt("its digest is wrong");
    if (head.how > static_cast<std::uint8_t>(compression::zstd) || head.by_chunks > 1 ||
        head.zeros != std::array<std::uint8_t, 2>{})
        return corrupt("no compression we know");

    layer_index out;
    out.file_digest = digest;
    out.how = static_cast<compression>(head.how);
    out.stored_digest = head.stored_digest;
    out.stored_bytes = head.stored_bytes;
    out.content_digest = head.content_digest;
    out.content_bytes = head.content_bytes;
    out.unit_bytes = head.unit_bytes;
    cursor from(body.subspan(sizeof head));
    if (head.by_chunks != 0) {
        NEROFS_TRY(out.chunks, read_chunks(from, head.units));
    } else {
        NEROFS_TRY(const auto units, from.take(std::uint64_t{head.units} * sizeof(codec::sha256_digest)));
        out.units.resize(head.units);
        if (!units.empty()) std::memcpy(out.units.data(), units.data(), units.size());
    }
    NEROFS_TRY(const auto table, from.take(std::uint64_t{head.checkpoints} * sizeof(file_checkpoint)));
    cursor entries(table);
    out.checkpoints.resize(head.checkpoints);
    for (checkpoint& c : out.checkpoints) {
        NEROFS_TRY(const file_checkpoint entry, entries.get<file_checkpoint>());
        if (entry.zero != 0) return corrupt("a checkpoint with something unknown");
        NEROFS_TRY(const auto window, from.take(entry.window_bytes));
        c.stored_offset = entry.stored_offset;
        c.content_offset = entry.content_offset;
        c.bits = entry.bits;
        c.window.assign(window.begin(), window.end());
    }
    NEROFS_CHECK(check(out));
    NEROFS_TRY(const auto packed_tree, from.take(head.tarindex_bytes));
    NEROFS_TRY(const auto links, from.take(head.link_bytes));
    if (!from.empty()) return corrupt("something follows");
    auto tree =
        codec::zstd_unpacked(packed_tree, static_cast<std::size_t>(std::min(most_tarindex_bytes, max_tarindex_bytes)));
    if (!tree) return corrupt("its tree: " + tree.error().text);
    out.tarindex = std::move(*tree);
    NEROFS_TRY(out.unresolved, unpacked_links(links, head.links));
    return out;
}

std::size_t layer_index::unit_count() const {
    if (!chunks.empty()) return chunks.size();
    return static_cast<std::size_t>((content_bytes + unit_bytes - 1) / unit_bytes);
}

std::size_t layer_index::unit_at(std::uint64_t content_offset) const {
    if (chunks.empty())
        return content_offset < content_bytes ? static_cast<std::size_t>(content_offset / unit_bytes) : unit_count();
    const auto found =
        std::upper_bound(chunks.begin(), chunks.end(), content_offset,
                         [](std::uint64_t offset, const toc_chunk& c) { return offset < c.content_offset + c.length; });
    return static_cast<std::size_t>(found - chunks.begin());
}

content_range layer_index::unit(std::size_t number) const {
    if (!chunks.empty()) return {chunks[number].content_offset, chunks[number].content_offset + chunks[number].length};
    return {number * std::uint64_t{unit_bytes}, std::min((number + 1) * std::uint64_t{unit_bytes}, content_bytes)};
}

content_range layer_index::whole_units(content_range part) const {
    if (part.begin >= part.end) return part;
    for (const std::size_t i : {unit_at(part.begin), unit_at(part.end - 1)}) {
        if (i == unit_count() || unit(i).begin >= part.end) continue;
        part = {std::min(part.begin, unit(i).begin), std::max(part.end, unit(i).end)};
    }
    return part;
}

const codec::sha256_digest* layer_index::unit_digest(std::size_t number) const {
    if (!chunks.empty()) return &chunks[number].digest;
    return units.empty() ? nullptr : &units[number];
}

std::size_t layer_index::checkpoint_before(std::uint64_t content_offset) const {
    const auto behind =
        std::upper_bound(checkpoints.begin(), checkpoints.end(), content_offset,
                         [](std::uint64_t offset, const checkpoint& c) { return offset < c.content_offset; });
    return static_cast<std::size_t>(behind - checkpoints.begin()) - 1;
}

decoding_place layer_index::place_before(std::uint64_t content_offset) const {
    if (!chunks.empty()) {
        const toc_chunk& c = chunks[unit_at(content_offset)];
        return {c.stored_offset, c.stored_end, c.content_offset};
    }
    if (how == compression::plain) {
        const auto [begin, end] = unit(unit_at(content_offset));
        return {begin, end, begin};
    }
    const std::size_t from = checkpoint_before(content_offset);
    const bool last = from + 1 == checkpoints.size();
    return {checkpoints[from].first_byte(), last ? stored_bytes : checkpoints[from + 1].stored_offset,
            checkpoints[from].content_offset};
}

std::string short_name(const codec::sha256_digest& stored_digest) {
    return "layer sha256:" + codec::to_hex(std::span(stored_digest).first(6)) + "..";
}

std::vector<std::byte> pack_window(std::span<const std::byte> window) {
    return codec::zstd_packed(window, window_level);
}

result<std::vector<std::byte>> unpack_window(std::span<const std::byte> packed) {
    if (packed.empty()) return std::vector<std::byte>();
    return codec::zstd_unpacked(packed, codec::gzip_window_bytes);
}

}  // namespace nerofs::layer
