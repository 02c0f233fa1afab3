// Archives: no input may crash the reader, the tree or the writer; pieces of any size must give the same; and what the
// tree takes, the writer writes so that the reader of images can walk it.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <vector>

#include "layer/tar_reader.h"
#include "layer/tree.h"
#include "written_tree.h"

namespace {

using namespace nerofs;
using namespace nerofs::fuzz;

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
        if (!added.end) continue;
        const auto finished = tree.finish();
        check_error(finished);
        if (finished) write_and_walk(tree, std::span(&added.bytes, 1), [](const auto&, auto) {});
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::span input(reinterpret_cast<const std::byte*>(data), size);
    look_at(input);
    look_at(sealed(input));
    return 0;
}
