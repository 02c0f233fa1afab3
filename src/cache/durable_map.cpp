#include "cache/durable_map.h"

#include <bit>
#include <cstring>
#include <limits>

#include "base/endian.h"
#include "cache/presence/geometry.h"
#include "codec/crc32c.h"

namespace nerofs::cache {
namespace {

constexpr std::uint64_t slot_magic = 0x3170616d666f726e;  // "nrofmap1"
constexpr std::uint32_t slot_version = 1;
constexpr std::uint32_t flag_verified = 1;
constexpr std::size_t block_bytes = 4096;

struct slot_header {
    le64 magic;
    le32 version;
    le32 shift;
    le64 blob_bytes;
    le64 sequence;
    std::array<std::byte, 16> instance;
    le32 flags;
    le32 bits_checksum;  // crc32c of the bitmap as it lies here
    le32 reserved;
    le32 header_checksum;  // crc32c of the bytes above
};
static_assert(sizeof(slot_header) == 64);

template <class T>
std::span<const std::byte> bytes_of(const T& value) {
    return std::as_bytes(std::span(&value, 1));
}

std::uint32_t header_checksum(const slot_header& header) {
    return codec::crc32c(bytes_of(header).first(sizeof header - sizeof(le32)));
}

}  // namespace

std::uint64_t durable_slot_bytes(std::uint64_t blob_bytes) {
    return round_up(sizeof(slot_header) + bitmap_words(blob_bytes) * sizeof(std::uint64_t), block_bytes);
}

std::vector<std::byte> encode_durable_slot(const durable_state& state, std::uint64_t blob_bytes) {
    std::vector<std::byte> slot(durable_slot_bytes(blob_bytes));
    const std::span<std::byte> bitmap = std::span(slot).subspan(sizeof(slot_header), state.bits.size() * sizeof(le64));
    for (std::size_t i = 0; i < state.bits.size(); ++i) {
        const le64 word = state.bits[i];
        std::memcpy(bitmap.data() + i * sizeof word, &word, sizeof word);
    }
    slot_header header{};
    header.magic = slot_magic;
    header.version = slot_version;
    header.shift = chunk_shift;
    header.blob_bytes = blob_bytes;
    header.sequence = state.sequence;
    header.instance = state.instance;
    header.flags = state.verified ? flag_verified : 0;
    header.bits_checksum = codec::crc32c(bitmap);
    header.header_checksum = header_checksum(header);
    std::memcpy(slot.data(), &header, sizeof header);
    return slot;
}

result<durable_state> parse_durable_slot(std::span<const std::byte> slot, std::uint64_t blob_bytes) {
    const auto damaged = [](const char* why) { return fail(error_kind::corrupt, std::string("presence map: ") + why); };
    if (blob_bytes == 0 || blob_bytes > max_blob_bytes) return damaged("impossible blob size");
    const std::uint64_t words = bitmap_words(blob_bytes);
    if (slot.size() < durable_slot_bytes(blob_bytes)) return damaged("too short");
    slot_header header;
    std::memcpy(&header, slot.data(), sizeof header);
    if (header.magic != slot_magic || header.version != slot_version) return damaged("not one of ours");
    if (header.header_checksum != header_checksum(header)) return damaged("header is damaged");
    if (header.shift != chunk_shift || header.blob_bytes != blob_bytes) return damaged("of another blob");
    if ((header.flags & ~flag_verified) != 0 || header.reserved != 0) return damaged("unknown flags");
    // A next one must be possible.
    if (header.sequence == 0 || header.sequence == std::numeric_limits<std::uint64_t>::max())
        return damaged("impossible sequence number");
    const std::span<const std::byte> bitmap = slot.subspan(sizeof header, words * sizeof(le64));
    if (header.bits_checksum != codec::crc32c(bitmap)) return damaged("bits are damaged");

    durable_state state;
    state.instance = header.instance;
    state.sequence = header.sequence;
    state.bits.resize(words);
    std::uint64_t present = 0;
    for (std::size_t i = 0; i < words; ++i) {
        le64 word;
        std::memcpy(&word, bitmap.data() + i * sizeof word, sizeof word);
        state.bits[i] = word;
        present += static_cast<std::uint64_t>(std::popcount(state.bits[i]));
    }
    if (const std::uint64_t used = chunk_count(blob_bytes) % 64; used != 0 && (state.bits.back() >> used) != 0)
        return damaged("chunks behind the end");
    state.verified = (header.flags & flag_verified) != 0;
    if (state.verified && present != chunk_count(blob_bytes)) return damaged("verified but not whole");
    return state;
}

std::optional<durable_choice> choose_durable_slot(std::span<const std::byte> file, std::uint64_t blob_bytes) {
    std::optional<durable_choice> best;
    if (blob_bytes == 0 || blob_bytes > max_blob_bytes) return best;
    const std::uint64_t slot_bytes = durable_slot_bytes(blob_bytes);
    for (unsigned i = 0; i < durable_slots && file.size() >= (i + 1) * slot_bytes; ++i) {
        auto state = parse_durable_slot(file.subspan(i * slot_bytes, slot_bytes), blob_bytes);
        if (state && (!best || state->sequence > best->state.sequence)) best = durable_choice{i, std::move(*state)};
    }
    return best;
}

}  // namespace nerofs::cache
