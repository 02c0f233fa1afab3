// The live presence map of a blob: shared memory of every process that uses it. docs/cache.md has its layout and rules.
//
// It may be written by an unprivileged process that eats hostile bytes, so nothing in it is trusted with more than
// presence: sizes and counts come from the caller, never from the memory, and every index is bounded by them.
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include "base/checked.h"
#include "base/result.h"
#include "base/unique_fd.h"
#include "cache/presence/geometry.h"
#include "os/shared_memory.h"

namespace nerofs::cache {

// What a read may count on.
enum class presence : std::uint8_t {
    there,    // all of it is in the data file
    missing,  // some of it has to be fetched
    failed,   // the blob's bytes are wrong or were lost: EIO
};

enum class blob_state : std::uint32_t {
    good = 0,
    quarantined = 1,  // the whole blob didn't match its digest
    lost = 2,         // the file system reported that written bytes didn't reach the disk
};

// Names one data file: a map is about the data file of its instance and no other.
using instance_id = std::array<std::byte, 16>;

// Which file the map is about, as the kernel names it; a map whose data file was replaced is void.
struct file_identity {
    std::uint64_t device = 0;
    std::uint64_t inode = 0;
    std::int64_t born_ns = 0;  // 0 where the file system doesn't say
    friend bool operator==(const file_identity&, const file_identity&) = default;
};

struct live_map_header {
    std::uint64_t magic;
    std::uint64_t blob_bytes;
    std::array<std::byte, 16> boot;  // the kernel in whose page cache the data may be
    instance_id instance;
    file_identity data;
    alignas(64) std::atomic<blob_state> state;
    std::atomic<std::uint32_t> verified;
    // Changes whenever a chunk came, a claim ended or the state changed; waited for with futex(2).
    alignas(64) std::atomic<std::uint32_t> generation;
};

// Processes that fetch one blob at the same time on one machine, each with a slot.
inline constexpr unsigned max_owners = 1024;

// Bytes of lock file offsets in the live map file, far behind its end.
inline constexpr std::uint64_t verify_lock_at = std::uint64_t{1} << 40;
inline constexpr std::uint64_t owner_lock_at = verify_lock_at + 1;

constexpr std::uint64_t live_map_bits_at = 4096 + 4096;  // header, owners
constexpr std::uint64_t live_map_claims_at(std::uint64_t blob_bytes) {
    return live_map_bits_at + round_up(bitmap_words(blob_bytes) * 8, 64);
}
constexpr std::uint64_t live_map_bytes(std::uint64_t blob_bytes) {
    return round_up(live_map_claims_at(blob_bytes) + chunk_count(blob_bytes) * 2, 4096);
}

// A mapping of one. Copies of a const reference may be used by any thread.
class live_map {
  public:
    live_map() = default;

    // Maps a live map file of a blob of that size. Kind corrupt when the file is too short or isn't one.
    static result<live_map> map(fd_ref file, std::uint64_t blob_bytes, bool writable);

    // Fills in a fresh, zero-filled map.
    void format(const std::array<std::byte, 16>& boot, const instance_id& instance, const file_identity& data,
                std::span<const std::uint64_t> bits, bool verified) const;

    std::uint64_t blob_bytes() const { return blob_bytes_; }
    std::uint64_t chunks() const { return chunk_count(blob_bytes_); }
    const live_map_header& header() const { return *static_cast<const live_map_header*>(memory_.data()); }

    blob_state state() const { return header().state.load(std::memory_order_acquire); }
    bool verified() const { return header().verified.load(std::memory_order_acquire) != 0; }

    // A few loads, no system call. A range that isn't inside the blob is `failed`.
    presence lookup(std::uint64_t offset, std::uint64_t length) const {
        if (!range_within(offset, length, blob_bytes_) || state() != blob_state::good) return presence::failed;
        const chunk_range range = chunks_of(offset, length);
        return all_present(range) ? presence::there : presence::missing;
    }
    bool present(std::uint64_t chunk) const {
        return ((word(chunk / 64).load(std::memory_order_acquire) >> (chunk % 64)) & 1) != 0;
    }
    // The range must lie inside the blob.
    bool all_present(chunk_range range) const {
        for (std::uint64_t at = range.first; at < range.end;) {
            const std::uint64_t in_word = at % 64;
            const std::uint64_t n = range.end - at < 64 - in_word ? range.end - at : 64 - in_word;
            const std::uint64_t mask = bits_mask(in_word, n);
            if ((word(at / 64).load(std::memory_order_acquire) & mask) != mask) return false;
            at += n;
        }
        return true;
    }
    // The first chunk from `from` on that isn't there, or chunks().
    std::uint64_t first_missing(std::uint64_t from) const;
    std::uint64_t present_chunks() const;
    std::uint64_t present_bytes() const;
    std::vector<std::uint64_t> snapshot() const;

    std::uint32_t generation() const { return header().generation.load(std::memory_order_acquire); }
    // Waits until generation() isn't `seen` or the deadline passes; may return early. False at the deadline.
    bool wait_change(std::uint32_t seen, std::chrono::steady_clock::time_point until) const;
    // Ends the waits of this process and others early, without a change; a wait that only begins isn't ended.
    void wake_waiters() const;

    // For writers (writable mappings) only.
    void set_present(chunk_range range) const;
    void change_state(blob_state to) const;
    void set_verified() const;
    void announce() const;  // a change: bumps the generation and wakes
    std::atomic<std::uint16_t>& claim_of(std::uint64_t chunk) const { return claims_[chunk]; }
    // Not zero: the slot's claims have to be cleared before it is used by another.
    std::atomic<std::uint8_t>& owner_used(unsigned slot) const { return owners_[slot]; }

  private:
    static constexpr std::uint64_t bits_mask(std::uint64_t from, std::uint64_t count) {
        return (std::numeric_limits<std::uint64_t>::max() >> (64 - count)) << from;
    }
    live_map_header& writable_header() const { return *static_cast<live_map_header*>(memory_.data()); }
    std::atomic<std::uint64_t>& word(std::uint64_t index) const { return bits_[index]; }

    os::mapping memory_;
    std::uint64_t blob_bytes_ = 0;
    std::atomic<std::uint64_t>* bits_ = nullptr;
    std::atomic<std::uint16_t>* claims_ = nullptr;
    std::atomic<std::uint8_t>* owners_ = nullptr;
};

static_assert(std::atomic<std::uint64_t>::is_always_lock_free && std::atomic<std::uint32_t>::is_always_lock_free &&
              std::atomic<std::uint16_t>::is_always_lock_free && std::atomic<std::uint8_t>::is_always_lock_free);
static_assert(sizeof(live_map_header) <= 4096 && max_owners <= 4096);

}  // namespace nerofs::cache
