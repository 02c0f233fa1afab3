// Two layers' indexes that nobody made: merging them may fail but neither crash nor go on for ever, and what it makes
// the writer writes so that the reader of images can walk it. The input: the first index's length in blocks of 512 (a
// byte), and how many links there are (a byte), the links ("path\0target\0"), then the two indexes.
#include "layer/merge.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>
#include <string>
#include <vector>

#include "base/checked.h"
#include "erofs/ondisk.h"
#include "erofs/reader.h"
#include "erofs/tree.h"
#include "erofs/writer.h"
#include "layer/marked_tree.h"

namespace {

using namespace nerofs;

constexpr std::uint64_t names_a_run = 2000;

void require(bool holds) {
    if (!holds) std::abort();
}

void check_error(const status& outcome) {
    if (outcome) return;
    require(!outcome.error().text.empty());
    for (const char c : outcome.error().message()) require(static_cast<unsigned char>(c) >= 0x20 && c != 0x7f);
}

// Bytes, and zeros behind them up to any offset when it says so.
class bytes_reader final : public erofs::byte_reader {
  public:
    bytes_reader(std::span<const std::byte> bytes, bool endless) : bytes_(bytes), endless_(endless) {}
    status read_exact(std::uint64_t offset, std::span<std::byte> into) override {
        if (!endless_ && !range_within<std::uint64_t>(offset, into.size(), bytes_.size()))
            return fail(error_kind::corrupt, "beyond the end");
        std::fill(into.begin(), into.end(), std::byte{0});
        if (offset >= bytes_.size()) return {};
        const std::size_t here = std::min<std::uint64_t>(into.size(), bytes_.size() - offset);
        std::copy_n(bytes_.begin() + static_cast<std::ptrdiff_t>(offset), here, into.begin());
        return {};
    }

  private:
    std::span<const std::byte> bytes_;
    bool endless_;
};

void write(const layer::merged_tree& tree) {
    const auto index = erofs::write_index(tree, tree.devices());
    if (!index) {
        require(index.error().kind == error_kind::unsupported);
        return;
    }
    bytes_reader bytes(index->bytes, true);
    std::uint64_t all = index->bytes.size();
    for (const std::uint64_t device : tree.devices()) all += device;
    auto image = erofs::reader::open(bytes, all);
    require(image.has_value());
    const auto walked = erofs::walk(*image, [&](std::string_view, const erofs::inode& i) -> status {
        const auto attributes = image->xattrs(i);
        require(attributes.has_value());
        for (const erofs::xattr& a : *attributes)
            require(a.name != layer::opaque_attribute && a.name != layer::implied_attribute);
        require(i.type != erofs::file_type::character || i.device_major != 0 || i.device_minor != 0);
        if (i.type == erofs::file_type::symlink) require(image->read_link(i).has_value());
        if (i.type == erofs::file_type::regular && i.size > 0) {
            const auto where = image->map(i, i.size - 1);
            require(where && where->address >= index->bytes.size() && where->address < all);
        }
        return {};
    });
    require(walked || walked.error().kind == error_kind::unsupported);
}

// The checksum is no obstacle to whoever makes an index by hand.
std::vector<std::byte> without_checksum(std::span<const std::byte> index) {
    std::vector<std::byte> out(index.begin(), index.end());
    constexpr std::size_t compat = erofs::ondisk::superblock_offset + 8;
    if (out.size() > compat) out[compat] &= ~std::byte{erofs::ondisk::compat_checksum};
    return out;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    std::span<const std::byte> input(reinterpret_cast<const std::byte*>(data), size);
    if (input.size() < 2) return 0;
    const std::size_t first_bytes = std::to_integer<std::size_t>(input[0]) * 512;
    const std::size_t count = std::to_integer<std::size_t>(input[1]);
    input = input.subspan(2);
    const auto text = [&] {
        const auto end = std::find(input.begin(), input.end(), std::byte{0});
        std::string out(reinterpret_cast<const char*>(input.data()), static_cast<std::size_t>(end - input.begin()));
        input = input.subspan(std::min(input.size(), out.size() + 1));
        return out;
    };
    std::vector<layer::tree::unresolved_link> links;
    for (std::size_t i = 0; i < count && !input.empty(); ++i) {
        std::string path = text();
        links.push_back({std::move(path), text()});
    }
    const std::size_t split = std::min(first_bytes, input.size());
    layer::merge_limits limits;
    limits.names = names_a_run;
    limits.text_bytes = 1U << 20;
    layer::merged_tree merged(limits);
    status added;
    std::vector<layer::tree::unresolved_link> none;
    for (const bool upper : {false, true}) {
        if (!added) break;
        const std::vector<std::byte> bytes = without_checksum(upper ? input.subspan(split) : input.first(split));
        bytes_reader reader(bytes, false);
        added = merged.add(reader, bytes.size(), upper ? links : none);
        check_error(added);
    }
    if (added) write(merged);
    return 0;
}
