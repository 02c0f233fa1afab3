#include "erofs/writer.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstring>
#include <limits>
#include <string>

#include "codec/crc32c.h"
#include "erofs/directory.h"
#include "erofs/ondisk.h"
#include "erofs/superblock.h"

namespace nerofs::erofs {
namespace {

using namespace ondisk;

constexpr unsigned block_bits = 9;
constexpr std::uint64_t block_size = 1U << block_bits;
constexpr std::uint64_t inode_slot = 1U << inode_slot_bits;
constexpr std::uint64_t device_table = superblock_offset + superblock_base_size;
constexpr std::uint32_t unplaced = ~std::uint32_t{0};
constexpr std::size_t target_cap = 4095;
constexpr std::size_t xattr_value_cap = 0xffff;
constexpr std::uint64_t xattr_area_cap = sizeof(xattr_header) + 4 * (std::uint64_t{0xffff} - 1);
constexpr unsigned chunk_shift_most = chunk_bits_mask;  // chunks of 2^(9 + 31) bytes
constexpr std::size_t gaps_kept = 16;

// EROFS_XATTR_INDEX_*, with the two that are whole names first.
struct xattr_namespace {
    std::string_view prefix;
    std::uint8_t index;
    bool whole;
};
constexpr std::array<xattr_namespace, 6> namespaces = {{{"system.posix_acl_access", 2, true},
                                                        {"system.posix_acl_default", 3, true},
                                                        {"user.", 1, false},
                                                        {"trusted.", 4, false},
                                                        {"lustre.", 5, false},
                                                        {"security.", 6, false}}};

const xattr_namespace* namespace_of(std::string_view name) {
    for (const xattr_namespace& n : namespaces) {
        if (n.whole ? name == n.prefix : name.starts_with(n.prefix) && name.size() > n.prefix.size()) return &n;
    }
    return nullptr;
}

constexpr std::uint64_t up_to(std::uint64_t value, std::uint64_t multiple) {
    return (value + multiple - 1) / multiple * multiple;
}

std::uint16_t mode_of(const new_inode& i) {
    constexpr std::array<unsigned, 7> types = {S_IFREG, S_IFDIR, S_IFLNK, S_IFCHR, S_IFBLK, S_IFIFO, S_IFSOCK};
    return static_cast<std::uint16_t>(types[static_cast<std::size_t>(i.type)] | i.permissions);
}

std::uint8_t dirent_type(file_type type) {  // EROFS_FT_*
    constexpr std::array<std::uint8_t, 7> types = {1, 2, 7, 3, 4, 5, 6};
    return types[static_cast<std::size_t>(type)];
}

std::uint32_t encoded_device(const new_inode& i) {  // the kernel's new_encode_dev
    return (i.device_minor & 0xff) | (i.device_major << 8) | ((i.device_minor & ~0xffU) << 12);
}

// A chunk that holds the whole file, or the largest there is.
unsigned chunk_shift(std::uint64_t size) {
    unsigned shift = 0;
    while (shift < chunk_shift_most && (block_size << shift) < size) ++shift;
    return shift;
}

std::uint64_t chunks_of(std::uint64_t size) {
    const std::uint64_t chunk = block_size << chunk_shift(size);
    return (size + chunk - 1) / chunk;
}

struct named_inode {
    std::string_view name;
    std::uint32_t inode;
};

// Where directory entries lie: as many in a block as fit.
class directory_layout {
  public:
    void add(std::string_view name) {
        const std::uint64_t bytes = sizeof(dirent) + name.size();
        if (used_ + bytes > block_size) {
            ++blocks_;
            used_ = 0;
        }
        used_ += bytes;
    }
    std::uint64_t size() const { return blocks_ * block_size + used_; }

  private:
    std::uint64_t blocks_ = 0;
    std::uint64_t used_ = 0;
};

// Where an inode goes, decided before anything is written.
struct placement {
    std::uint32_t slot = unplaced;  // the inode's address / 32, its nid
    std::uint32_t number = 0;       // its place in the order, from 0
    std::uint32_t links = 0;
    std::uint32_t data_block = 0;  // of whole blocks, from the start of their region
    std::uint32_t parent = 0;      // of a directory
};

struct shape {
    bool extended = false;
    std::uint64_t xattr_bytes = 0;
    std::uint64_t size = 0;    // i_size
    std::uint64_t chunks = 0;  // of a regular file
    std::uint64_t blocks = 0;  // whole blocks in the region of data
    std::uint64_t inline_bytes = 0;

    std::uint64_t head() const { return (extended ? sizeof(inode_extended) : sizeof(inode_compact)) + xattr_bytes; }
    // From an address on, through what follows the inode.
    std::uint64_t end(std::uint64_t address) const {
        const std::uint64_t body = address + head();
        return chunks > 0 ? up_to(body, sizeof(chunk_index)) + chunks * sizeof(chunk_index) : body + inline_bytes;
    }
    bool fits(std::uint64_t address) const {
        return inline_bytes == 0 || (address + head()) % block_size + inline_bytes <= block_size;
    }
};

class index_writer {
  public:
    index_writer(const file_tree& tree, std::span<const std::uint64_t> devices, const index_options& options)
        : tree_(tree),
          devices_(devices),
          options_(options),
          end_(device_table + devices.size() * sizeof(device_slot)) {}

    result<index_image> run();

  private:
    status number_all();
    status count_names(std::uint32_t directory);
    void choose_epoch();
    result<shape> shape_of(std::uint32_t inode);
    status check(const new_inode& i) const;
    result<std::uint64_t> xattr_bytes_of(const new_inode& i);
    std::uint64_t directory_bytes(std::uint32_t directory) const;
    std::uint64_t place_one(const shape& s);
    status place_all();
    std::vector<named_inode> sorted_names(std::uint32_t directory) const;

    template <class T>
    void put(std::uint64_t at, const T& value) {
        std::memcpy(out_.bytes.data() + at, &value, sizeof value);
    }
    void put_text(std::uint64_t at, std::string_view text) {
        if (!text.empty()) std::memcpy(out_.bytes.data() + at, text.data(), text.size());
    }
    void write_inode(std::uint32_t inode, const shape& s);
    void write_xattrs(std::uint64_t at, const new_inode& i, std::uint64_t bytes);
    void write_chunks(std::uint64_t at, const new_inode& i, std::uint64_t count);
    void write_directory(std::uint32_t inode, const shape& s, std::uint64_t tail);
    void write_super();

    const file_tree& tree_;
    std::span<const std::uint64_t> devices_;  // bytes of each
    index_options options_;
    index_image out_;
    std::vector<placement> places_;     // by inode
    std::vector<std::uint32_t> order_;  // inodes, as they are written
    timestamp epoch_;
    struct gap {
        std::uint64_t start;
        std::uint64_t end;
    };
    std::vector<gap> gaps_;
    std::uint64_t end_;  // of what was placed
    std::uint64_t data_region_ = 0;
    std::uint64_t data_blocks_ = 0;
};

// Breadth first: what one directory names lies together, as `ls -l` reads it.
status index_writer::number_all() {
    places_.resize(tree_.inodes());
    if (places_.empty() || tree_.inode_at(0).type != file_type::directory) {
        return fail(error_kind::usage, "a tree without a root directory can't be written");
    }
    order_.reserve(places_.size());
    order_.push_back(0);
    places_[0].links = 2;
    for (std::size_t i = 0; i < order_.size(); ++i) {
        if (tree_.inode_at(order_[i]).type == file_type::directory) NEROFS_CHECK(count_names(order_[i]));
    }
    for (std::size_t i = 0; i < order_.size(); ++i) places_[order_[i]].number = static_cast<std::uint32_t>(i);
    return {};
}

status index_writer::count_names(std::uint32_t directory) {
    status outcome;
    std::string last;
    tree_.list(directory, [&](std::string_view name, std::uint32_t inode) {
        if (!outcome) return;
        if (!plain_name(name) || name <= std::string_view(last) || inode >= places_.size() || inode == 0) {
            outcome = fail(error_kind::usage, "a name that can't be in a directory, or out of order");
            return;
        }
        last = name;
        placement& p = places_[inode];
        const bool is_directory = tree_.inode_at(inode).type == file_type::directory;
        if (p.links == 0) {
            order_.push_back(inode);
        } else if (is_directory) {
            outcome = fail(error_kind::usage, fmt::format("inode {}: a directory with two names", inode));
            return;
        }
        if (is_directory) {
            p.links = 2;
            p.parent = directory;
            ++places_[directory].links;
        } else {
            ++p.links;
        }
    });
    return outcome;
}

// Boyer and Moore's vote: whatever more than half of the inodes have. When nothing is, any choice is as good.
void index_writer::choose_epoch() {
    if (options_.epoch) {
        epoch_ = *options_.epoch;
        return;
    }
    std::uint64_t votes = 0;
    for (const std::uint32_t inode : order_) {
        const timestamp time = tree_.inode_at(inode).mtime;
        if (votes == 0) epoch_ = time;
        votes = time == epoch_ ? votes + 1 : votes - 1;
    }
}

status index_writer::check(const new_inode& i) const {
    if (i.type == file_type::symlink && (i.target.empty() || i.target.size() > target_cap)) {
        return fail(error_kind::usage, "a symlink's target has 1 to 4095 bytes");
    }
    if (i.type != file_type::regular || i.size == 0) return {};
    if (i.device >= devices_.size() || i.data_offset % block_size != 0 ||
        !range_within(i.data_offset, i.size, devices_[i.device])) {
        return fail(error_kind::usage, "a file's data isn't where it can be");
    }
    return {};
}

result<std::uint64_t> index_writer::xattr_bytes_of(const new_inode& i) {
    std::uint64_t bytes = 0;
    for (const xattr& a : i.attributes) {
        const xattr_namespace* n = namespace_of(a.name);
        if (n == nullptr) {
            ++out_.dropped_attributes;
            continue;
        }
        if (a.name.size() > name_bytes_cap || a.value.size() > xattr_value_cap) {
            return fail(error_kind::unsupported,
                        fmt::format("an extended attribute is too long ({} bytes of name, {} of value)", a.name.size(),
                                    a.value.size()));
        }
        bytes += up_to(sizeof(xattr_entry) + a.name.size() - n->prefix.size() + a.value.size(), 4);
        if (bytes > xattr_area_cap - sizeof(xattr_header)) {
            return fail(error_kind::unsupported, "has more extended attributes than an EROFS inode has room for");
        }
    }
    return bytes == 0 ? 0 : sizeof(xattr_header) + bytes;
}

std::vector<named_inode> index_writer::sorted_names(std::uint32_t directory) const {
    std::vector<named_inode> names;
    tree_.list(directory, [&](std::string_view name, std::uint32_t inode) { names.push_back({name, inode}); });
    const auto insert = [&](std::string_view name, std::uint32_t inode) {
        const auto at = std::lower_bound(names.begin(), names.end(), name,
                                         [](const named_inode& n, std::string_view other) { return n.name < other; });
        names.insert(at, {name, inode});
    };
    insert(".", directory);
    insert("..", places_[directory].parent);
    return names;
}

std::uint64_t index_writer::directory_bytes(std::uint32_t directory) const {
    directory_layout layout;
    for (const named_inode& n : sorted_names(directory)) layout.add(n.name);
    return layout.size();
}

result<shape> index_writer::shape_of(std::uint32_t inode) {
    const new_inode i = tree_.inode_at(inode);
    NEROFS_CHECK(check(i));
    shape s;
    if (i.type == file_type::regular) {
        s.size = i.size;
        s.chunks = i.size == 0 ? 0 : chunks_of(i.size);
    } else if (i.type == file_type::directory) {
        s.size = directory_bytes(inode);
    } else if (i.type == file_type::symlink) {
        s.size = i.target.size();
    }
    constexpr std::uint64_t narrow = std::numeric_limits<std::uint16_t>::max();
    // A compact inode has no time of its own before Linux 6.15.
    s.extended = i.uid > narrow || i.gid > narrow || places_[inode].links > narrow || i.mtime != epoch_ ||
                 s.size > std::numeric_limits<std::uint32_t>::max();
    NEROFS_TRY(s.xattr_bytes, xattr_bytes_of(i));
    if (s.chunks == 0) {
        s.blocks = s.size / block_size;
        s.inline_bytes = s.size % block_size;
        // No address of an inode leaves that much of a block behind it.
        if (s.head() % inode_slot + s.inline_bytes > block_size) {
            ++s.blocks;
            s.inline_bytes = 0;
        }
    }
    return s;
}

// The first place that does, among the last gaps or behind all that was placed.
std::uint64_t index_writer::place_one(const shape& s) {
    for (gap& g : gaps_) {
        for (std::uint64_t at = g.start; s.end(at) <= g.end; at += inode_slot) {
            if (!s.fits(at)) continue;
            if (at == g.start) {
                g.start = up_to(s.end(at), inode_slot);
            } else {
                g.end = at;  // what lies behind is lost
            }
            return at;
        }
    }
    std::uint64_t at = up_to(end_, inode_slot);
    const std::uint64_t start = at;
    while (!s.fits(at)) at += inode_slot;
    if (at != start) {
        if (gaps_.size() == gaps_kept) gaps_.erase(gaps_.begin());
        gaps_.push_back({start, at});
    }
    end_ = s.end(at);
    return at;
}

status index_writer::place_all() {
    for (const std::uint32_t inode : order_) {
        auto s = shape_of(inode);
        if (!s) return fail(std::move(s).error().in(fmt::format("member {}", inode)));
        const std::uint64_t slot = place_one(*s) / inode_slot;
        placement& p = places_[inode];
        p.slot = static_cast<std::uint32_t>(slot);
        p.data_block = static_cast<std::uint32_t>(data_blocks_);
        data_blocks_ += s->blocks;
        // nid, block numbers and the image's blocks have 32 bits; an index comes nowhere near.
        if (slot >= unplaced || data_blocks_ >= unplaced / 2) {
            return fail(error_kind::unsupported, "the tree is too large for one index");
        }
    }
    data_region_ = up_to(end_, block_size);
    out_.bytes.resize(up_to(data_region_ + data_blocks_ * block_size, options_.fill_to));
    return {};
}

void index_writer::write_xattrs(std::uint64_t at, const new_inode& i, std::uint64_t bytes) {
    if (bytes == 0) return;
    at += sizeof(xattr_header);  // all zeros: nothing is shared
    for (const xattr& a : i.attributes) {
        const xattr_namespace* n = namespace_of(a.name);
        if (n == nullptr) continue;
        const std::string_view name = std::string_view(a.name).substr(n->prefix.size());
        xattr_entry entry{};
        entry.name_length = static_cast<std::uint8_t>(name.size());
        entry.name_index = n->index;
        entry.value_length = static_cast<std::uint16_t>(a.value.size());
        put(at, entry);
        put_text(at + sizeof entry, name);
        put_text(at + sizeof entry + name.size(), a.value);
        at += up_to(sizeof entry + name.size() + a.value.size(), 4);
    }
}

void index_writer::write_chunks(std::uint64_t at, const new_inode& i, std::uint64_t count) {
    at = up_to(at, sizeof(chunk_index));
    const std::uint64_t blocks = std::uint64_t{1} << chunk_shift(i.size);
    for (std::uint64_t c = 0; c < count; ++c) {
        chunk_index index{};
        index.device_id = static_cast<std::uint16_t>(i.device + 1);
        index.block_lo = static_cast<std::uint32_t>(i.data_offset / block_size + c * blocks);
        put(at + c * sizeof index, index);
    }
}

void index_writer::write_directory(std::uint32_t inode, const shape& s, std::uint64_t tail) {
    const std::vector<named_inode> names = sorted_names(inode);
    const std::uint64_t region = data_region_ + places_[inode].data_block * block_size;
    for (std::size_t first = 0, index = 0; first < names.size(); ++index) {
        std::uint64_t used = 0;
        std::size_t end = first;
        while (end < names.size() && used + sizeof(dirent) + names[end].name.size() <= block_size) {
            used += sizeof(dirent) + names[end++].name.size();
        }
        const std::uint64_t at = index < s.blocks ? region + index * block_size : tail;
        std::uint64_t name_at = (end - first) * sizeof(dirent);
        for (std::size_t n = first; n < end; ++n) {
            dirent d{};
            d.nid = std::uint64_t{places_[names[n].inode].slot};
            d.name_offset = static_cast<std::uint16_t>(name_at);
            d.file_type = dirent_type(tree_.inode_at(names[n].inode).type);
            put(at + (n - first) * sizeof d, d);
            put_text(at + name_at, names[n].name);
            name_at += names[n].name.size();
        }
        first = end;
    }
}

void index_writer::write_inode(std::uint32_t inode, const shape& s) {
    const new_inode i = tree_.inode_at(inode);
    const placement& p = places_[inode];
    const std::uint64_t at = std::uint64_t{p.slot} * inode_slot;
    data_layout layout = data_layout::flat_plain;
    std::uint32_t u = 0;
    if (s.chunks > 0) {
        layout = data_layout::chunk_based;
        u = chunk_indexes | chunk_shift(i.size);
    } else if (i.type == file_type::character || i.type == file_type::block) {
        u = encoded_device(i);
    } else if (s.size > 0) {
        if (s.inline_bytes > 0) layout = data_layout::flat_inline;
        u = s.blocks > 0 ? static_cast<std::uint32_t>(data_region_ / block_size + p.data_block) : null_block_32;
    }
    const auto format = static_cast<std::uint16_t>(static_cast<unsigned>(layout) << format_layout_shift);
    const auto xattr_count =
        static_cast<std::uint16_t>(s.xattr_bytes == 0 ? 0 : 1 + (s.xattr_bytes - sizeof(xattr_header)) / 4);
    if (s.extended) {
        inode_extended raw{};
        raw.format = static_cast<std::uint16_t>(format | format_extended);
        raw.xattr_count = xattr_count;
        raw.mode = mode_of(i);
        raw.size = s.size;
        raw.u = u;
        raw.ino = p.number + 1;
        raw.uid = i.uid;
        raw.gid = i.gid;
        raw.mtime = static_cast<std::uint64_t>(i.mtime.seconds);
        raw.mtime_nsec = i.mtime.nanoseconds;
        raw.nlink = p.links;
        put(at, raw);
    } else {
        inode_compact raw{};
        raw.format = format;
        raw.xattr_count = xattr_count;
        raw.mode = mode_of(i);
        raw.nlink_or_high = static_cast<std::uint16_t>(p.links);
        raw.size = static_cast<std::uint32_t>(s.size);
        raw.u = u;
        raw.ino = p.number + 1;
        raw.uid = static_cast<std::uint16_t>(i.uid);
        raw.gid = static_cast<std::uint16_t>(i.gid);
        put(at, raw);
    }
    write_xattrs(at + s.head() - s.xattr_bytes, i, s.xattr_bytes);
    const std::uint64_t tail = at + s.head();
    if (s.chunks > 0) write_chunks(tail, i, s.chunks);
    if (i.type == file_type::directory) write_directory(inode, s, tail);
    if (i.type == file_type::symlink) {
        const std::uint64_t whole = std::min<std::uint64_t>(s.blocks * block_size, i.target.size());
        put_text(data_region_ + p.data_block * block_size, i.target.substr(0, whole));
        put_text(tail, i.target.substr(whole));
    }
}

void index_writer::write_super() {
    const auto blocks = static_cast<std::uint32_t>(out_.bytes.size() / block_size);
    superblock super{};
    super.magic = superblock_magic;
    super.feature_compat = compat_checksum | compat_mtime;
    super.block_bits = static_cast<std::uint8_t>(block_bits);
    super.root_nid_or_blocks_hi = static_cast<std::uint16_t>(places_[0].slot);
    super.inodes = std::uint64_t{order_.size()};
    super.epoch = static_cast<std::uint64_t>(epoch_.seconds);
    super.fixed_nsec = epoch_.nanoseconds;
    super.blocks_lo = blocks;
    super.uuid = options_.uuid;
    super.feature_incompat = incompat_device_table;
    super.extra_devices = static_cast<std::uint16_t>(devices_.size());
    super.device_table_slot = static_cast<std::uint16_t>(device_table / sizeof(device_slot));
    put(superblock_offset, super);
    std::uint64_t slot_at = device_table;
    std::uint32_t next_block = blocks;
    for (const std::uint64_t bytes : devices_) {
        device_slot device{};
        device.blocks_lo = static_cast<std::uint32_t>(up_to(bytes, block_size) / block_size);
        device.uniaddr_lo = next_block;
        put(slot_at, device);
        slot_at += sizeof device;
        next_block += device.blocks_lo;
    }
    // Of the superblock's block, with zeros where the checksum goes, and not inverted at the end.
    super.checksum = ~codec::crc32c(std::span(out_.bytes).subspan(superblock_offset, block_size));
    put(superblock_offset, super);
}

result<index_image> index_writer::run() {
    if (devices_.size() > extra_devices_cap) {
        return fail(error_kind::unsupported, fmt::format("{} devices are too many for one index", devices_.size()));
    }
    // 32-bit block numbers of the devices and of the flat address space, where all bits set is a hole.
    constexpr std::uint64_t data_cap = (std::uint64_t{unplaced} / 2 + 1) * block_size;
    std::uint64_t data = 0;
    for (const std::uint64_t bytes : devices_) {
        if (bytes >= data_cap || (data += up_to(bytes, block_size)) > data_cap) {
            return fail(error_kind::unsupported, fmt::format("{} bytes are too many for one index", bytes));
        }
    }
    NEROFS_CHECK(number_all());
    choose_epoch();
    NEROFS_CHECK(place_all());
    const std::uint64_t dropped = out_.dropped_attributes;
    for (const std::uint32_t inode : order_) {
        NEROFS_TRY(const shape s, shape_of(inode));
        write_inode(inode, s);
    }
    write_super();
    out_.dropped_attributes = dropped;
    out_.inodes = order_.size();
    return std::move(out_);
}

}  // namespace

result<index_image> write_index(const file_tree& tree, std::span<const std::uint64_t> devices,
                                const index_options& options) {
    return index_writer(tree, devices, options).run();
}

}  // namespace nerofs::erofs
