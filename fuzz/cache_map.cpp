// The durable presence map: whatever is accepted is encoded again to the same bits, and claims no chunk that the blob
// doesn't have. The input is the blob's size (8 bytes) and then a map file.
#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "cache/durable_map.h"
#include "cache/presence/geometry.h"
#include "require.h"

namespace {

using namespace nerofs::cache;
using namespace nerofs::fuzz;

void check(std::span<const std::byte> file, std::uint64_t blob_bytes) {
    const auto best = choose_durable_slot(file, blob_bytes);
    if (!best) return;
    const durable_state& state = best->state;
    require(blob_bytes > 0 && blob_bytes <= max_blob_bytes);
    require(state.bits.size() == bitmap_words(blob_bytes));
    require(best->slot < durable_slots && (best->slot + 1) * durable_slot_bytes(blob_bytes) <= file.size());
    std::uint64_t present = 0;
    for (const std::uint64_t word : state.bits) present += static_cast<std::uint64_t>(std::popcount(word));
    require(present <= chunk_count(blob_bytes));
    if (const auto used = chunk_count(blob_bytes) % 64; used != 0) require(state.bits.back() >> used == 0);
    require(!state.verified || present == chunk_count(blob_bytes));
    require(state.sequence + 1 > state.sequence);
    const auto again = parse_durable_slot(encode_durable_slot(state, blob_bytes), blob_bytes);
    require(again && *again == state);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    std::uint64_t blob_bytes = 0;
    if (size < sizeof blob_bytes) return 0;
    std::memcpy(&blob_bytes, data, sizeof blob_bytes);
    const auto file = std::as_bytes(std::span(data, size)).subspan(sizeof blob_bytes);
    check(file, blob_bytes);
    check(file, 1 + blob_bytes % (std::uint64_t{1} << 31));  // sizes whose maps fit an input
    return 0;
}
