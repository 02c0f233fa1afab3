#include "cache/presence/live_map.h"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <climits>

namespace nerofs::cache {
namespace {

constexpr std::uint64_t live_magic = 0x3165766c666f726e;  // "nroflve1"

}  // namespace

result<live_map> live_map::map(fd_ref file, std::uint64_t blob_bytes, bool writable) {
    if (blob_bytes == 0 || blob_bytes > max_blob_bytes) return fail(error_kind::usage, "impossible blob size");
    const std::uint64_t bytes = live_map_bytes(blob_bytes);
    NEROFS_TRY(const std::uint64_t size, os::file_size(file));
    if (size != bytes) return fail(error_kind::corrupt, "live presence map: wrong size");
    live_map m;
    NEROFS_TRY(m.memory_, os::mapping::map(file, bytes, writable));
    m.blob_bytes_ = blob_bytes;
    auto* const base = static_cast<std::byte*>(m.memory_.data());
    m.owners_ = reinterpret_cast<std::atomic<std::uint8_t>*>(base + 4096);
    m.bits_ = reinterpret_cast<std::atomic<std::uint64_t>*>(base + live_map_bits_at);
    m.claims_ = reinterpret_cast<std::atomic<std::uint16_t>*>(base + live_map_claims_at(blob_bytes));
    const live_map_header& h = m.header();
    const bool fresh = writable && h.magic == 0;
    if (!fresh && (h.magic != live_magic || h.blob_bytes != blob_bytes))
        return fail(error_kind::corrupt, "live presence map: not the one of this blob");
    return m;
}

void live_map::format(const std::array<std::byte, 16>& boot, const instance_id& instance, const file_identity& data,
                      std::span<const std::uint64_t> bits, bool verified) const {
    live_map_header& h = writable_header();
    h.blob_bytes = blob_bytes_;
    h.boot = boot;
    h.instance = instance;
    h.data = data;
    for (std::size_t i = 0; i < bits.size(); ++i) word(i).store(bits[i], std::memory_order_relaxed);
    h.verified.store(verified ? 1 : 0, std::memory_order_relaxed);
    h.magic = live_magic;
}

std::uint64_t live_map::first_missing(std::uint64_t from) const {
    const std::uint64_t end = chunks();
    while (from < end) {
        const std::uint64_t in_word = from % 64;
        const std::uint64_t missing = ~word(from / 64).load(std::memory_order_acquire) >> in_word;
        if (missing != 0) return std::min(end, from + static_cast<std::uint64_t>(std::countr_zero(missing)));
        from += 64 - in_word;
    }
    return end;
}

std::uint64_t live_map::present_chunks() const {
    std::uint64_t count = 0;
    for (std::uint64_t i = 0; i < bitmap_words(blob_bytes_); ++i)
        count += static_cast<std::uint64_t>(std::popcount(word(i).load(std::memory_order_relaxed)));
    return std::min(count, chunks());
}

std::uint64_t live_map::present_bytes() const {
    const std::uint64_t bytes = present_chunks() << chunk_shift;
    const std::uint64_t tail = chunks() * chunk_bytes - blob_bytes_;
    return present(chunks() - 1) && bytes >= tail ? bytes - tail : bytes;
}

std::vector<std::uint64_t> live_map::snapshot() const {
    std::vector<std::uint64_t> bits(bitmap_words(blob_bytes_));
    for (std::size_t i = 0; i < bits.size(); ++i) bits[i] = word(i).load(std::memory_order_acquire);
    // Nobody of ours sets a bit behind the end, but whoever can write the map could.
    if (const std::uint64_t used = chunks() % 64; used != 0) bits.back() &= bits_mask(0, used);
    return bits;
}

bool live_map::wait_change(std::uint32_t seen, std::chrono::steady_clock::time_point until) const {
    if (generation() != seen) return true;
    const auto since_epoch = until.time_since_epoch();  // libstdc++'s steady_clock is CLOCK_MONOTONIC
    if (since_epoch.count() < 0) return false;
    const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(since_epoch);
    timespec at{};
    at.tv_sec = seconds.count();
    at.tv_nsec = static_cast<long>(std::chrono::nanoseconds(since_epoch - seconds).count());
    const long code =
        ::syscall(SYS_futex, &header().generation, FUTEX_WAIT_BITSET, seen, &at, nullptr, FUTEX_BITSET_MATCH_ANY);
    return code == 0 || errno != ETIMEDOUT || generation() != seen;
}

void live_map::wake_waiters() const {
    ::syscall(SYS_futex, &header().generation, FUTEX_WAKE, INT_MAX, nullptr, nullptr, 0);
}

void live_map::announce() const {
    writable_header().generation.fetch_add(1, std::memory_order_release);
    wake_waiters();
}

void live_map::set_present(chunk_range range) const {
    for (std::uint64_t at = range.first; at < range.end;) {
        const std::uint64_t in_word = at % 64;
        const std::uint64_t n = std::min(range.end - at, 64 - in_word);
        word(at / 64).fetch_or(bits_mask(in_word, n), std::memory_order_release);
        at += n;
    }
}

void live_map::change_state(blob_state to) const {
    writable_header().state.store(to, std::memory_order_release);
    announce();
}

void live_map::set_verified() const {
    writable_header().verified.store(1, std::memory_order_release);
    announce();
}

}  // namespace nerofs::cache
