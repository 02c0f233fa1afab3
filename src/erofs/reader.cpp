#include "erofs/reader.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cstring>

#include "base/checked.h"
#include "erofs/metadata.h"
#include "erofs/ondisk.h"

namespace nerofs::erofs {
namespace {

using namespace ondisk;

constexpr std::size_t symlink_bytes_cap = 4095;  // PATH_MAX without its NUL: no kernel shows more
constexpr std::string_view compressed_text = "compressed EROFS isn't readable without mounting yet";

std::uint64_t round_up(std::uint64_t value, std::uint64_t unit) {
    return (value + unit - 1) / unit * unit;
}

error about(error e, const inode& of) {
    return std::move(e).in(inode_name(of.nid));
}

tl::unexpected<error> damaged(const inode& of, std::string_view why) {
    return fail(about(make_error(error_kind::corrupt, std::string(why)), of));
}

}  // namespace

// Everything a reader is, at an address that stays: the metadata windows call back into it.
struct reader::state {
    state(byte_reader& image_, std::uint64_t available, std::vector<byte_reader*> devices_, superblock_info super_)
        : image(image_),
          available_bytes(available),
          devices(std::move(devices_)),
          super(std::move(super_)),
          metadata(available,
                   [this](std::uint64_t at, std::span<std::byte> into) { return image.read_exact(at, into); }) {}

    status read_metadata(bool in_metabox, std::uint64_t address, std::span<std::byte> into);
    result<inode> load_inode(std::uint64_t nid);
    status open_metabox();

    result<extent> map(const inode& file, std::uint64_t offset);
    result<extent> map_flat(const inode& file, std::uint64_t offset) const;
    result<extent> map_chunk(const inode& file, std::uint64_t offset);
    result<extent> on_device(const inode& file, std::uint64_t device_id, std::uint64_t block, std::uint64_t skip,
                             std::uint64_t length) const;
    status fetch(const inode& file, const extent& from, std::span<std::byte> into);
    status read_exact(const inode& file, std::uint64_t offset, std::span<std::byte> into);

    result<std::vector<std::byte>> directory_block(const inode& directory, std::uint64_t index);
    std::uint64_t block_count(const inode& of) const {
        return round_up(of.size, super.block_size()) >> super.block_bits;
    }

    status load_prefixes();
    result<std::optional<xattr>> shared_xattr(std::uint32_t id);
    result<std::optional<xattr>> named(std::span<const std::byte> entry);

    byte_reader& image;
    std::uint64_t available_bytes;
    std::vector<byte_reader*> devices;  // empty with the flat rule
    superblock_info super;
    metadata_windows metadata;
    std::optional<inode> metabox;                       // once it was needed
    std::optional<metadata_windows> metabox_metadata;   // its data
    std::optional<std::vector<xattr_prefix>> prefixes;  // once one was needed
};

reader::reader(std::unique_ptr<state> s) : state_(std::move(s)) {}
reader::reader(reader&&) noexcept = default;
reader& reader::operator=(reader&&) noexcept = default;
reader::~reader() = default;

result<reader> reader::open(byte_reader& image, std::uint64_t available_bytes, std::vector<byte_reader*> devices) {
    NEROFS_TRY(superblock_info super, read_superblock(image, available_bytes, !devices.empty()));
    if (!devices.empty() && devices.size() != super.devices.size()) {
        return fail(error_kind::usage,
                    fmt::format("the image has {} extra devices, {} were given", super.devices.size(), devices.size()));
    }
    return reader(std::make_unique<state>(image, available_bytes, std::move(devices), std::move(super)));
}

const superblock_info& reader::super() const {
    return state_->super;
}

// --- Metadata
// ---------------------------------------------------------------------------------------------------------

status reader::state::open_metabox() {
    if (metabox_metadata) return {};
    if (!super.metabox_nid) return fail(error_kind::corrupt, "metadata lies in a metabox, the image has none");
    // Can't recurse: a metabox in itself was refused with the superblock.
    NEROFS_TRY(inode box, load_inode(*super.metabox_nid));
    if (box.compressed()) {
        return fail(error_kind::unsupported, fmt::format("the image's metadata is compressed: {}", compressed_text));
    }
    metabox = box;
    metabox_metadata.emplace(
        box.size, [this](std::uint64_t at, std::span<std::byte> into) { return read_exact(*metabox, at, into); });
    return {};
}

status reader::state::read_metadata(bool in_metabox, std::uint64_t address, std::span<std::byte> into) {
    if (!in_metabox) return metadata.read(address, into);
    NEROFS_CHECK(open_metabox());
    return metabox_metadata->read(address, into);
}

result<inode> reader::state::load_inode(std::uint64_t nid) {
    NEROFS_TRY(const std::uint64_t address, inode_address(super, nid));
    const bool in_metabox = (nid & nid_in_metabox) != 0;
    std::array<std::byte, sizeof(inode_extended)> bytes;
    std::span<std::byte> part = std::span(bytes).first<sizeof(inode_compact)>();
    if (auto got = read_metadata(in_metabox, address, part); !got) {
        return fail(std::move(got).error().in(inode_name(nid)));
    }
    if (inode_bytes(part) > part.size()) {
        if (auto got = read_metadata(in_metabox, address + part.size(), std::span(bytes).subspan(part.size())); !got) {
            return fail(std::move(got).error().in(inode_name(nid)));
        }
        part = bytes;
    }
    return parse_inode(super, nid, part);
}

result<inode> reader::read_inode(std::uint64_t nid) {
    return state_->load_inode(nid);
}

result<inode> reader::root() {
    NEROFS_TRY(const inode directory, read_inode(state_->super.root_nid));
    if (directory.type != file_type::directory) return damaged(directory, "the root isn't a directory");
    return directory;
}

// --- Data
// -------------------------------------------------------------------------------------------------------------

// `skip` bytes into block `block` of device `device_id` of the device table (0: the image itself), as erofs_map_dev has
// it.
result<extent> reader::state::on_device(const inode& file, std::uint64_t device_id, std::uint64_t block,
                                        std::uint64_t skip, std::uint64_t length) const {
    const auto place = [&](std::uint32_t device, std::uint64_t first_block, std::uint64_t end) -> result<extent> {
        auto address = checked_mul<std::uint64_t>(first_block, super.block_size());
        if (address) address = checked_add(*address, skip);
        if (!address || !range_within<std::uint64_t>(*address, length, end)) {
            return damaged(
                file, fmt::format("its data in block {} lies beyond the end of its device", with_commas(first_block)));
        }
        return extent{extent::source::device, device, *address, length};
    };
    if (device_id > super.devices.size()) return damaged(file, fmt::format("there is no device {}", device_id));
    // A given device knows its own end; the reader's error tells.
    constexpr std::uint64_t unknown_end = std::uint64_t{1} << 63;
    if (device_id > 0) {
        if (devices.empty()) return place(0, block + super.devices[device_id - 1].uniaddr, available_bytes);
        return place(static_cast<std::uint32_t>(device_id), block, unknown_end);
    }
    if (!devices.empty()) {
        for (std::size_t i = 0; i < super.devices.size(); ++i) {
            const device_info& d = super.devices[i];
            if (d.uniaddr != 0 && block >= d.uniaddr && block - d.uniaddr < d.blocks) {
                return place(static_cast<std::uint32_t>(i + 1), block - d.uniaddr, unknown_end);
            }
        }
    }
    return place(0, block, available_bytes);
}

result<extent> reader::state::map_flat(const inode& file, std::uint64_t offset) const {
    if (file.hole) return extent{extent::source::zeros, 0, 0, file.size - offset};
    const std::uint64_t tail_start =
        file.layout == data_layout::flat_inline ? (block_count(file) - 1) << super.block_bits : file.size;
    if (offset < tail_start) return on_device(file, 0, file.start_block, offset, tail_start - offset);

    const std::uint64_t tail = file.body + file.xattr_size;
    if (tail % super.block_size() + (file.size - tail_start) > super.block_size()) {
        return damaged(file, "its inline data crosses the end of a block");
    }
    const std::uint64_t address = tail + (offset - tail_start);
    if (file.in_metabox()) return extent{extent::source::metabox, 0, address, file.size - offset};
    if (!range_within(address, file.size - offset, available_bytes))
        return damaged(file, "its inline data lies beyond the end");
    return extent{extent::source::device, 0, address, file.size - offset};
}

result<extent> reader::state::map_chunk(const inode& file, std::uint64_t offset) {
    const unsigned chunk_bits = super.block_bits + (file.chunk_format & chunk_bits_mask);  // at most 16 + 31
    const std::uint64_t number = offset >> chunk_bits;
    const std::uint64_t skip = offset - (number << chunk_bits);
    const std::uint64_t length = std::min((std::uint64_t{1} << chunk_bits) - skip, file.size - offset);

    const bool indexes = (file.chunk_format & chunk_indexes) != 0;
    const std::uint64_t unit = indexes ? sizeof(chunk_index) : sizeof(le32);
    // Can't overflow: body is below 2^63 + 64, and there are at most 2^54 chunks of 8 bytes.
    const std::uint64_t at = round_up(file.body + file.xattr_size, unit) + number * unit;
    std::array<std::byte, sizeof(chunk_index)> bytes;
    const auto entry = std::span(bytes).first(unit);
    if (auto got = read_metadata(file.in_metabox(), at, entry); !got) return fail(about(std::move(got).error(), file));

    std::uint64_t device_id = 0;
    std::uint64_t block;
    std::uint64_t null_block = null_block_32;
    if (indexes) {
        const auto index = *load<chunk_index>(entry, 0);
        block = index.block_lo;
        if ((file.chunk_format & chunk_48bit) != 0) {
            block |= std::uint64_t{index.block_hi} << 32;
            null_block = null_block_48;
        }
        // Ids are masked, not compared: the bits above may be used for something one day.
        device_id = index.device_id & (std::bit_ceil(super.devices.size() + 1) - 1);
    } else {
        block = *load<le32>(entry, 0);
    }
    if (block == null_block) return extent{extent::source::zeros, 0, 0, length};
    return on_device(file, device_id, block, skip, length);
}

result<extent> reader::state::map(const inode& file, std::uint64_t offset) {
    if (offset >= file.size) return fail(error_kind::usage, inode_name(file.nid) + ": offset beyond the end");
    if (file.compressed()) return fail(about(make_error(error_kind::unsupported, std::string(compressed_text)), file));
    if (file.layout == data_layout::chunk_based) return map_chunk(file, offset);
    return map_flat(file, offset);
}

status reader::state::fetch(const inode& file, const extent& from, std::span<std::byte> into) {
    status done;
    switch (from.from) {
        case extent::source::zeros:
            std::fill(into.begin(), into.end(), std::byte{});
            return {};
        case extent::source::metabox:
            done = read_metadata(true, from.address, into);
            break;
        case extent::source::device:
            done = (from.device == 0 ? image : *devices[from.device - 1]).read_exact(from.address, into);
            break;
    }
    if (!done) return fail(about(std::move(done).error(), file));
    return {};
}

// All of `into` must lie within the file. Neighbouring chunks that follow each other on the device are read at once.
status reader::state::read_exact(const inode& file, std::uint64_t offset, std::span<std::byte> into) {
    if (!range_within<std::uint64_t>(offset, into.size(), file.size))
        return damaged(file, "ends before what it should hold");
    std::optional<extent> ahead;
    while (!into.empty()) {
        if (!ahead) {
            NEROFS_TRY(ahead, map(file, offset));
        }
        extent run = *ahead;
        ahead.reset();
        while (run.length < into.size()) {
            NEROFS_TRY(const extent next, map(file, offset + run.length));
            const bool joins = next.from == run.from && next.device == run.device &&
                               (run.from == extent::source::zeros || next.address == run.address + run.length);
            if (!joins) {
                ahead = next;
                break;
            }
            run.length += next.length;
        }
        const std::size_t length = std::min<std::uint64_t>(run.length, into.size());
        NEROFS_CHECK(fetch(file, run, into.first(length)));
        into = into.subspan(length);
        offset += length;
    }
    return {};
}

result<extent> reader::map(const inode& file, std::uint64_t offset) {
    return state_->map(file, offset);
}

result<std::size_t> reader::read(const inode& file, std::uint64_t offset, std::span<std::byte> into) {
    if (offset >= file.size) return 0;
    into = into.first(std::min<std::uint64_t>(into.size(), file.size - offset));
    NEROFS_CHECK(state_->read_exact(file, offset, into));
    return into.size();
}

result<std::string> reader::read_link(const inode& link) {
    if (link.type != file_type::symlink) return fail(error_kind::usage, inode_name(link.nid) + " isn't a symlink");
    if (link.size == 0 || link.size > symlink_bytes_cap) {
        return damaged(link, fmt::format("a symlink's target can't have {} bytes", with_commas(link.size)));
    }
    std::string target(link.size, '\0');
    NEROFS_CHECK(state_->read_exact(link, 0, std::as_writable_bytes(std::span(target))));
    if (target.find('\0') != std::string::npos) return damaged(link, "a symlink's target has a NUL in it");
    return target;
}

// --- Directories
// ------------------------------------------------------------------------------------------------------

result<std::vector<std::byte>> reader::state::directory_block(const inode& directory, std::uint64_t index) {
    const std::uint64_t offset = index << super.block_bits;
    std::vector<std::byte> block(std::min<std::uint64_t>(super.block_size(), directory.size - offset));
    NEROFS_CHECK(read_exact(directory, offset, block));
    return block;
}

namespace {

status must_be_directory(const inode& directory) {
    if (directory.type == file_type::directory) return {};
    return fail(error_kind::usage, inode_name(directory.nid) + " isn't a directory");
}

}  // namespace

status reader::list(const inode& directory, const std::function<bool(const directory_entry&)>& each) {
    NEROFS_CHECK(must_be_directory(directory));
    std::string last;  // the order must hold across blocks: else repeated blocks could make a directory endless
    for (std::uint64_t i = 0; i < state_->block_count(directory); ++i) {
        NEROFS_TRY(const std::vector<std::byte> block, state_->directory_block(directory, i));
        auto entries = parse_directory_block(block);
        if (!entries) return fail(about(std::move(entries).error(), directory));
        if (i > 0 && entries->front().name <= last) {
            return damaged(directory, "directory is damaged: its names aren't in order");
        }
        last = entries->back().name;
        for (const directory_entry& entry : *entries) {
            if (entry.name == "." || entry.name == "..") continue;
            if (!each(entry)) return {};
        }
    }
    return {};
}

result<std::optional<std::uint64_t>> reader::lookup(const inode& directory, std::string_view name) {
    NEROFS_CHECK(must_be_directory(directory));
    if (!plain_name(name)) return std::nullopt;
    std::uint64_t low = 0;
    std::uint64_t high = state_->block_count(directory);
    while (low < high) {
        const std::uint64_t middle = low + (high - low) / 2;
        NEROFS_TRY(const std::vector<std::byte> block, state_->directory_block(directory, middle));
        auto entries = parse_directory_block(block);
        if (!entries) return fail(about(std::move(entries).error(), directory));
        if (name < entries->front().name) {
            high = middle;
        } else if (name > entries->back().name) {
            low = middle + 1;
        } else {
            const auto found =
                std::lower_bound(entries->begin(), entries->end(), name,
                                 [](const directory_entry& e, std::string_view n) { return e.name < n; });
            if (found != entries->end() && found->name == name) return found->nid;
            return std::nullopt;
        }
    }
    return std::nullopt;
}

// --- Extended attributes
// ----------------------------------------------------------------------------------------------

// The table lies in the image, in the metabox or in the packed inode (erofs_xattr_prefixes_init).
status reader::state::load_prefixes() {
    if (prefixes) return {};
    const bool plain = (super.feature_compat & compat_plain_xattr_prefixes) != 0;
    std::optional<inode> packed;
    if (!plain && !super.metabox_nid && super.packed_nid != 0) {
        NEROFS_TRY(packed, load_inode(super.packed_nid));
    }
    const auto read_at = [&](std::uint64_t at, std::span<std::byte> into) -> status {
        if (packed) return read_exact(*packed, at, into);
        return read_metadata(!plain && super.metabox_nid, at, into);
    };
    std::vector<xattr_prefix> table;
    std::uint64_t at = super.xattr_prefix_start * 4;
    for (unsigned i = 0; i < super.xattr_prefix_count; ++i) {
        std::array<std::byte, 3> head;  // length of what follows, and its first byte
        NEROFS_CHECK(read_at(at, head));
        const std::size_t length = *load<le16>(head, 0);
        if (length < 1 || length > name_bytes_cap + 1) {
            return fail(error_kind::corrupt, fmt::format("xattr prefix {} has an impossible length of {}", i, length));
        }
        xattr_prefix prefix{std::to_integer<std::uint8_t>(head[2]), std::string(length - 1, '\0')};
        NEROFS_CHECK(read_at(at + head.size(), std::as_writable_bytes(std::span(prefix.infix))));
        table.push_back(std::move(prefix));
        at = round_up(at + sizeof(le16) + length, 4);
    }
    prefixes = std::move(table);
    return {};
}

result<std::optional<xattr>> reader::state::named(std::span<const std::byte> entry) {
    if (xattr_has_long_prefix(entry)) NEROFS_CHECK(load_prefixes());
    return parse_xattr_entry(entry,
                             prefixes ? std::span<const xattr_prefix>(*prefixes) : std::span<const xattr_prefix>());
}

result<std::optional<xattr>> reader::state::shared_xattr(std::uint32_t id) {
    const bool in_metabox = (super.feature_compat & compat_shared_xattr_metabox) != 0;
    const std::uint64_t at = (super.xattr_block << super.block_bits) + std::uint64_t{id} * 4;
    std::vector<std::byte> entry(sizeof(xattr_entry));
    NEROFS_CHECK(read_metadata(in_metabox, at, entry));
    const auto raw = *load<xattr_entry>(entry, 0);
    entry.resize(sizeof(xattr_entry) + raw.name_length +
                 raw.value_length);  // without padding, which may be cut off at the end
    NEROFS_CHECK(read_metadata(in_metabox, at + sizeof(xattr_entry), std::span(entry).subspan(sizeof(xattr_entry))));
    return named(entry);
}

result<std::vector<xattr>> reader::xattrs(const inode& of) {
    std::vector<std::byte> bytes(of.xattr_size);
    if (auto got = state_->read_metadata(of.in_metabox(), of.body, bytes); !got)
        return fail(about(std::move(got).error(), of));
    auto body = parse_xattr_body(bytes);
    if (!body) return fail(about(std::move(body).error(), of));
    std::vector<xattr> out;
    const auto take = [&](result<std::optional<xattr>> one) -> status {
        if (!one) return fail(about(std::move(one).error(), of));
        if (*one) out.push_back(*std::move(*one));
        return {};
    };
    for (auto rest = body->entries; rest.size() >= sizeof(xattr_entry);) {
        const std::size_t length = xattr_entry_bytes(rest);
        if (length > rest.size()) return damaged(of, "extended attributes are damaged: an entry is cut off");
        NEROFS_CHECK(take(state_->named(rest.first(length))));
        rest = rest.subspan(length);
    }
    for (const std::uint32_t id : body->shared_ids) NEROFS_CHECK(take(state_->shared_xattr(id)));
    return out;
}

}  // namespace nerofs::erofs
