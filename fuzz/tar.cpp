// Archives: no input may crash the reader, the tree or the writer; pieces of any size must give the same; and what the
// tree takes, the writer writes so that the reader of images can walk it.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <span>
#include <string>
#include <vector>

#include "base/checked.h"
#include "erofs/reader.h"
#include "erofs/tree.h"
#include "erofs/writer.h"
#include "layer/tar_reader.h"
#include "layer/tree.h"

namespace {

using namespace nerofs;

void require(bool holds) {
    if (!holds) std::abort();
}

void check_error(const status& outcome) {
    if (outcome) return;
    require(!outcome.error().text.empty());
    for (const char c : outcome.error().message()) require(static_cast<unsigned char>(c) >= 0x20 && c != 0x7f);
}

// An index, and zeros wherever its device's data would be.
class index_reader final : public erofs::byte_reader {
  public:
    explicit index_reader(std::span<const std::byte> index) : index_(index) {}
    status read_exact(std::uint64_t offset, std::span<std::byte> into) override {
        std::fill(into.begin(), into.end(), std::byte{0});
        if (offset < index_.size()) {
            const std::size_t here = std::min(into.size(), index_.size() - static_cast<std::size_t>(offset));
            std::copy_n(index_.begin() + static_cast<std::ptrdiff_t>(offset), here, into.begin());
        }
        return {};
    }

  private:
    std::span<const std::byte> index_;
};

struct outcome {
    std::string seen;
    status end;
    std::uint64_t bytes = 0;
};

outcome read_all(std::span<const std::byte> input, std::size_t piece, layer::tree* tree) {
    outcome out;
    layer::tar_reader reader([&](layer::tar_entry&& e) -> status {
        require(!e.path.empty() && e.path.size() <= layer::tar_path_cap && e.data_offset % 512 == 0);
        require(e.mtime.nanoseconds < 1000000000 && e.permissions <= 07777);
        out.seen += e.path + "|" + e.link_target + "|" + std::to_string(e.size) + "\n";
        return tree != nullptr ? tree->add(std::move(e)) : status{};
    });
    for (std::size_t at = 0; at < input.size() && out.end; at += piece) {
        out.end = reader.push(input.subspan(at, std::min(piece, input.size() - at)));
    }
    if (out.end) out.end = reader.finish();
    out.bytes = reader.archive_bytes();
    return out;
}

void write(layer::tree& tree, std::uint64_t data_bytes) {
    const auto finished = tree.finish();
    check_error(finished);
    if (!finished) return;
    const auto index = erofs::write_index(tree, data_bytes);
    if (!index) {
        require(index.error().kind == error_kind::unsupported);
        return;
    }
    index_reader bytes(index->bytes);
    auto image = erofs::reader::open(bytes, index->bytes.size() + (data_bytes + 511) / 512 * 512);
    require(image.has_value());
    std::uint64_t names = 0;
    const auto walked = erofs::walk(*image, [&](std::string_view path, const erofs::inode& i) -> status {
        ++names;
        require(image->xattrs(i).has_value());
        if (i.type == erofs::file_type::symlink) require(image->read_link(i).has_value());
        if (i.type == erofs::file_type::regular && i.size > 0) {
            const auto where = image->map(i, i.size - 1);
            require(where && where->address >= index->bytes.size());
        }
        if (!path.empty() && path.size() < 4000)
            require(erofs::resolve(*image, path, erofs::last_symlink::keep).has_value());
        return {};
    });
    require(walked || walked.error().kind == error_kind::unsupported);
    require(!walked || names >= index->inodes);
}

// Headers get the sum that they should have, which no mutation would find.
std::vector<std::byte> sealed(std::span<const std::byte> input) {
    constexpr std::size_t magic = 257;
    constexpr std::size_t sum_at = 148;
    std::vector<std::byte> out(input.begin(), input.end());
    for (std::size_t at = 0; at + 512 <= out.size(); at += 512) {
        std::byte* const block = out.data() + at;
        if (std::memcmp(block + magic, "ustar", 5) != 0) continue;
        std::fill_n(block + sum_at, 8, std::byte{' '});
        unsigned sum = 0;
        for (std::size_t i = 0; i < 512; ++i) sum += std::to_integer<unsigned>(block[i]);
        for (std::size_t digit = 6; digit-- > 0; sum /= 8)
            block[sum_at + digit] = static_cast<std::byte>('0' + sum % 8);
    }
    return out;
}

void look_at(std::span<const std::byte> input) {
    const std::size_t size = input.size();
    const outcome whole = read_all(input, size + 1, nullptr);
    check_error(whole.end);
    const outcome pieces = read_all(input, 1 + size % 700, nullptr);
    require(whole.seen == pieces.seen && whole.end.has_value() == pieces.end.has_value());
    if (!whole.end) require(whole.end.error().text == pieces.end.error().text);
    for (const auto mode : {layer::whiteout_mode::as_files, layer::whiteout_mode::as_marks}) {
        layer::tree_options options;
        options.whiteouts = mode;
        options.keep_unresolved = mode == layer::whiteout_mode::as_marks;
        options.names = 20000;
        layer::tree tree(options);
        const outcome added = read_all(input, size + 1, &tree);
        check_error(added.end);
        if (added.end) write(tree, added.bytes);
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::span input(reinterpret_cast<const std::byte*>(data), size);
    look_at(input);
    look_at(sealed(input));
    return 0;
}
