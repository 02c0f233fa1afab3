// Makes small EROFS images byte by byte, for what no tool at hand writes, and for lies.
#pragma once

#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "erofs/ondisk.h"
#include "image.h"

namespace nerofs::erofs::test {

// An image of `blocks` blocks without a checksum. Metadata starts at block `meta_block`: nid n lies 32 * n bytes behind
// it.
class builder {
  public:
    explicit builder(unsigned block_bits = 9, std::uint32_t blocks = 64) : image_(std::size_t{blocks} << block_bits) {
        super.magic = ondisk::superblock_magic;
        super.block_bits = static_cast<std::uint8_t>(block_bits);
        super.blocks_lo = blocks;
        super.meta_block = meta_block;
        super.root_nid_or_blocks_hi = 0;
    }

    static constexpr std::uint32_t meta_block = 4;

    ondisk::superblock super{};
    std::uint64_t metabox_nid = 0;

    std::size_t block_size() const { return std::size_t{1} << super.block_bits; }
    std::size_t nid_offset(std::uint64_t nid) const { return meta_block * block_size() + nid * 32; }

    void put(std::size_t offset, std::span<const std::byte> what) {
        if (offset + what.size() > image_.size()) image_.resize(offset + what.size());
        if (!what.empty()) std::memcpy(image_.data() + offset, what.data(), what.size());
    }
    void put(std::size_t offset, std::string_view what) { put(offset, std::as_bytes(std::span(what))); }
    template <class T>
    void put_struct(std::size_t offset, const T& what) {
        put(offset, std::as_bytes(std::span(&what, 1)));
    }

    // An extended inode; `after` lies right behind it (xattrs, inline data, chunks).
    static ondisk::inode_extended extended(std::uint16_t mode, ondisk::data_layout layout, std::uint64_t size,
                                           std::uint32_t u = 0) {
        ondisk::inode_extended raw{};
        raw.format = static_cast<std::uint16_t>(ondisk::format_extended | (static_cast<unsigned>(layout) << 1));
        raw.mode = mode;
        raw.size = size;
        raw.u = u;
        raw.nlink = 1;
        return raw;
    }
    void inode(std::uint64_t nid, const ondisk::inode_extended& raw, std::string_view after = {}) {
        put_struct(nid_offset(nid), raw);
        put(nid_offset(nid) + sizeof raw, after);
    }

    // A directory block; names must be given in the order wanted.
    static std::string directory(const std::vector<std::pair<std::string, std::uint64_t>>& entries) {
        std::string head;
        std::string names;
        for (const auto& [name, nid] : entries) {
            ondisk::dirent raw{nid, static_cast<std::uint16_t>(entries.size() * sizeof(ondisk::dirent) + names.size()),
                               0, 0};
            head.append(reinterpret_cast<const char*>(&raw), sizeof raw);
            names += name;
        }
        return head + names;
    }
    // An inline directory at `nid` with "." and ".." and these.
    void directory_inode(std::uint64_t nid, std::vector<std::pair<std::string, std::uint64_t>> entries) {
        entries.insert(entries.begin(), {{".", nid}, {"..", 0}});
        const std::string data = directory(entries);
        inode(nid, extended(0040755, ondisk::data_layout::flat_inline, data.size()), data);
    }
    // A regular file whose data is inline.
    void file_inode(std::uint64_t nid, std::string_view data) {
        inode(nid, extended(0100644, ondisk::data_layout::flat_inline, data.size()), data);
    }

    // The image as it is now.
    bytes image() {
        put_struct(ondisk::superblock_offset, super);
        if (super.extension_slots > 0) put_struct(ondisk::superblock_offset + 128, le64(metabox_nid));
        return image_;
    }

  private:
    bytes image_;
};

}  // namespace nerofs::erofs::test
