// The durable map: which chunks of a blob's data file are known to be on disk. docs/cache.md has the format and why a
// torn or half-written one can't claim too much. Pure: bytes in, values out.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "base/result.h"
#include "cache/presence/live_map.h"

namespace nerofs::cache {

struct durable_state {
    instance_id instance{};
    std::uint64_t sequence = 0;  // of the checkpoint that wrote it, from 1
    bool verified = false;       // the whole blob has been checked against its digest
    std::vector<std::uint64_t> bits;

    friend bool operator==(const durable_state&, const durable_state&) = default;
};

// A durable map file is two slots of this size; a checkpoint overwrites the older.
std::uint64_t durable_slot_bytes(std::uint64_t blob_bytes);
constexpr unsigned durable_slots = 2;

// One slot. bits.size() must be bitmap_words(blob_bytes).
std::vector<std::byte> encode_durable_slot(const durable_state& state, std::uint64_t blob_bytes);

// Kind corrupt when the bytes aren't a whole, undamaged slot for a blob of that size. Needs memory for the bits only;
// the size isn't taken from the bytes.
result<durable_state> parse_durable_slot(std::span<const std::byte> slot, std::uint64_t blob_bytes);

struct durable_choice {
    unsigned slot = 0;
    durable_state state;
};
// The newer valid slot of a file's content, or nothing when neither is valid.
std::optional<durable_choice> choose_durable_slot(std::span<const std::byte> file, std::uint64_t blob_bytes);

}  // namespace nerofs::cache
