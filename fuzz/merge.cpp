// Two layers' indexes that nobody made: merging them may fail but neither crash nor go on for ever, and what it makes
// the writer writes so that the reader of images can walk it. The input: the first index's length in blocks of 512 (a
// byte), and how many links there are (a byte), the links ("path\0target\0"), then the two indexes.
#include "layer/merge.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "erofs/ondisk.h"
#include "layer/marked_tree.h"
#include "written_tree.h"

namespace {

using namespace nerofs;
using namespace nerofs::fuzz;

constexpr std::uint64_t names_a_run = 2000;

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
        bytes_reader reader(bytes, bytes.size());
        added = merged.add(reader, bytes.size(), upper ? links : none);
        check_error(added);
    }
    if (!added) return 0;
    write_and_walk(merged, merged.devices(), [](const erofs::inode& i, std::span<const erofs::xattr> attributes) {
        for (const erofs::xattr& a : attributes)
            require(a.name != layer::opaque_attribute && a.name != layer::implied_attribute);
        require(i.type != erofs::file_type::character || i.device_major != 0 || i.device_minor != 0);
    });
    return 0;
}
