// Trees that were taken as valid: the writer of indexes writes them, so that the reader of images can walk them.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string_view>

#include "base/checked.h"
#include "erofs/reader.h"
#include "erofs/tree.h"
#include "erofs/writer.h"
#include "require.h"

namespace nerofs::fuzz {

// Bytes; behind them zeros, as far as `end` says.
class bytes_reader final : public erofs::byte_reader {
  public:
    bytes_reader(std::span<const std::byte> bytes, std::uint64_t end) : bytes_(bytes), end_(end) {}
    status read_exact(std::uint64_t offset, std::span<std::byte> into) override {
        if (!range_within<std::uint64_t>(offset, into.size(), end_)) return fail(error_kind::corrupt, "beyond the end");
        std::fill(into.begin(), into.end(), std::byte{0});
        if (offset >= bytes_.size()) return {};
        const std::size_t here = std::min<std::uint64_t>(into.size(), bytes_.size() - offset);
        std::copy_n(bytes_.begin() + static_cast<std::ptrdiff_t>(offset), here, into.begin());
        return {};
    }

  private:
    std::span<const std::byte> bytes_;
    std::uint64_t end_;
};

// `each` sees every inode with its attributes.
inline void write_and_walk(const erofs::file_tree& tree, std::span<const std::uint64_t> devices,
                           const std::function<void(const erofs::inode&, std::span<const erofs::xattr>)>& each) {
    const auto index = erofs::write_index(tree, devices);
    if (!index) {
        require(index.error().kind == error_kind::unsupported);
        return;
    }
    std::uint64_t end = index->bytes.size();
    for (const std::uint64_t device : devices) end += (device + 511) / 512 * 512;
    bytes_reader bytes(index->bytes, end);
    auto image = erofs::reader::open(bytes, end);
    require(image.has_value());
    std::uint64_t names = 0;
    const auto walked = erofs::walk(*image, [&](std::string_view path, const erofs::inode& i) -> status {
        ++names;
        const auto attributes = image->xattrs(i);
        require(attributes.has_value());
        each(i, *attributes);
        if (i.type == erofs::file_type::symlink) require(image->read_link(i).has_value());
        if (i.type == erofs::file_type::regular && i.size > 0) {
            const auto where = image->map(i, i.size - 1);
            require(where && where->address >= index->bytes.size() && where->address < end);
        }
        if (!path.empty() && path.size() < 4000)
            require(erofs::resolve(*image, path, erofs::last_symlink::keep).has_value());
        return {};
    });
    require(walked || walked.error().kind == error_kind::unsupported);
    require(!walked || names >= index->inodes);
}

}  // namespace nerofs::fuzz
