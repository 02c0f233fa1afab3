// What is kept of a layer, read again: whatever is taken is in order, and is written to a file that says the same.
#include "layer/layer_index.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

#include "require.h"

namespace {

using namespace nerofs;
using namespace nerofs::fuzz;

constexpr std::uint64_t most_tarindex_bytes = 1U << 20;

void check(std::span<const std::byte> file) {
    const auto parsed = layer::layer_index::parse(file, most_tarindex_bytes);
    if (!parsed) {
        require(parsed.error().kind == error_kind::corrupt || parsed.error().kind == error_kind::unsupported);
        return;
    }
    require(parsed->tarindex.size() <= most_tarindex_bytes);
    require(parsed->units.size() + parsed->chunks.size() == parsed->unit_count());
    for (std::size_t i = 0; i < parsed->unit_count(); ++i) {
        const auto [begin, end] = parsed->unit(i);
        require(begin < end && end <= parsed->content_bytes && parsed->unit_at(begin) == i);
        require(parsed->unit_at(end - 1) == i && parsed->unit_at(end) > i);
        const layer::decoding_place from = parsed->place_before(end - 1);
        require(from.stored_begin < from.stored_end && from.stored_end <= parsed->stored_bytes);
        require(from.content_begin < end);
    }
    std::uint64_t stored = 0;
    for (const auto& c : parsed->checkpoints) {
        require(c.stored_offset >= stored && c.stored_offset < parsed->stored_bytes);
        require(parsed->checkpoints[parsed->checkpoint_before(c.content_offset)] == c);
        stored = c.stored_offset;
        const auto window = layer::unpack_window(c.window);
        require(!window || window->size() <= std::min<std::uint64_t>(c.content_offset, codec::gzip_window_bytes));
    }
    const auto again = parsed->encode();
    require(again.has_value());
    const auto reparsed = layer::layer_index::parse(*again, most_tarindex_bytes);
    require(reparsed && reparsed->checkpoints == parsed->checkpoints && reparsed->units == parsed->units);
    require(reparsed->chunks == parsed->chunks);
    require(reparsed->tarindex == parsed->tarindex && reparsed->stored_digest == parsed->stored_digest);
    require(reparsed->unresolved.size() == parsed->unresolved.size());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const auto input = std::as_bytes(std::span(data, size));
    check(input);
    // With the digest that it should have, which no mutation would find.
    std::vector<std::byte> sealed(input.begin(), input.end());
    const auto digest = codec::sha256::of(sealed);
    sealed.insert(sealed.end(), digest.begin(), digest.end());
    check(sealed);
    return 0;
}
