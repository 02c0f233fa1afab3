#include "cache/writer.h"

#include <algorithm>
#include <cerrno>
#include <string>

#include "base/fault.h"
#include "cache/locks.h"

namespace nerofs::cache {

result<blob_writer> blob_writer::attach(writer_files files, std::uint64_t blob_bytes, file_io& io) {
    NEROFS_TRY(live_map map, live_map::map(files.map, blob_bytes, true));
    for (unsigned slot = 0; slot < max_owners; ++slot) {
        NEROFS_TRY(const bool mine, try_lock_byte(files.map, owner_lock_at + slot, lock_kind::exclusive));
        if (!mine) continue;
        blob_writer writer(std::move(files), std::move(map), slot, io);
        if (writer.map_.owner_used(slot).load() != 0) {
            (void)fault::point("cache.attach.sweep");
            writer.clear_claims({0, writer.map_.chunks()}, writer.id());
            writer.map_.announce();
        }
        writer.map_.owner_used(slot).store(1);
        return writer;
    }
    return fail(error_kind::retryable, "too many processes fetch this blob at once", EUSERS);
}

blob_writer::blob_writer(blob_writer&& other) noexcept
    : files_(std::move(other.files_)),
      map_(std::move(other.map_)),
      owner_(other.owner_),
      io_(other.io_),
      known_present_(other.known_present_.load()) {}

blob_writer::~blob_writer() {
    if (!files_.map) return;  // moved from
    clear_claims({0, map_.chunks()}, id());
    map_.owner_used(owner_).store(0);
    map_.announce();
}

bool blob_writer::claim_one(std::uint64_t chunk) const {
    if (map_.present(chunk)) return false;
    std::uint16_t nobody = 0;
    if (!map_.claim_of(chunk).compare_exchange_strong(nobody, id())) return false;
    // Its last holder may have filled it and let go of it between the two looks above.
    if (!map_.present(chunk)) return true;
    clear_claims({chunk, chunk + 1}, id());
    return false;
}

std::uint64_t blob_writer::claim(chunk_range range) const {
    if (!in_bounds(range)) return 0;
    std::uint64_t chunk = range.first;
    while (chunk < range.end && claim_one(chunk)) {
        ++chunk;
        (void)fault::point("cache.claimed");
    }
    return chunk - range.first;
}

claim_holder blob_writer::holder_of(std::uint64_t chunk) const {
    if (chunk >= map_.chunks() || map_.present(chunk)) return claim_holder::present;
    const std::uint16_t claimant = map_.claim_of(chunk).load();
    if (claimant == 0) return claim_holder::nobody;
    return claimant == id() ? claim_holder::this_writer : claim_holder::another;
}

void blob_writer::clear_claims(chunk_range range, std::uint16_t claimant) const {
    for (std::uint64_t chunk = range.first; chunk < range.end; ++chunk) {
        std::uint16_t expected = claimant;
        if (map_.claim_of(chunk).load(std::memory_order_relaxed) == claimant)
            map_.claim_of(chunk).compare_exchange_strong(expected, 0);
    }
}

void blob_writer::abandon(chunk_range range) const {
    if (!in_bounds(range)) return;
    clear_claims(range, id());
    map_.announce();
}

bool blob_writer::alive(std::uint16_t claimant) const {
    if (claimant == id()) return true;
    if (claimant > max_owners) return false;  // nobody of ours
    return locked_by_another(files_.map, owner_lock_at + claimant - 1u);
}

std::uint64_t blob_writer::release_dead(chunk_range range) const {
    if (!in_bounds(range)) return 0;
    std::uint64_t freed = 0;
    std::uint16_t last_asked = 0;
    bool last_alive = true;
    for (std::uint64_t chunk = range.first; chunk < range.end; ++chunk) {
        std::uint16_t claimant = map_.claim_of(chunk).load();
        if (claimant == 0 || map_.present(chunk)) continue;
        if (claimant != last_asked) {
            last_asked = claimant;
            last_alive = alive(claimant);
        }
        if (!last_alive && map_.claim_of(chunk).compare_exchange_strong(claimant, 0)) ++freed;
    }
    if (freed != 0) map_.announce();
    return freed;
}

std::uint64_t blob_writer::take_over(chunk_range range) const {
    if (!in_bounds(range)) return 0;
    std::uint64_t taken = 0;
    for (std::uint64_t chunk = range.first; chunk < range.end; ++chunk) {
        if (map_.present(chunk)) continue;
        map_.claim_of(chunk).store(id());
        ++taken;
    }
    return taken;
}

void blob_writer::publish(chunk_range range) const {
    (void)fault::point("cache.publish");
    map_.set_present(range);
    (void)fault::point("cache.published");
    // Ours, and those of writers it was taken over from.
    for (std::uint64_t chunk = range.first; chunk < range.end; ++chunk) map_.claim_of(chunk).store(0);
    (void)fault::point("cache.released");
    map_.announce();
}

bool blob_writer::complete() const {
    const std::uint64_t known = map_.first_missing(known_present_.load(std::memory_order_relaxed));
    known_present_.store(known, std::memory_order_relaxed);
    return known == map_.chunks();
}

bool blob_writer::take_verification() const {
    const auto mine = try_lock_byte(files_.map, verify_lock_at, lock_kind::exclusive);
    return mine && *mine;
}

chunk_fill::chunk_fill(const blob_writer& writer, chunk_range range)
    : writer_(&writer),
      next_(range.first << chunk_shift),
      end_(std::min(range.end << chunk_shift, writer.map().blob_bytes())),
      published_(range.first) {}

chunk_fill::chunk_fill(chunk_fill&& other) noexcept
    : writer_(std::exchange(other.writer_, nullptr)),
      next_(other.next_),
      end_(other.end_),
      published_(other.published_) {}

chunk_fill& chunk_fill::operator=(chunk_fill&& other) noexcept {
    if (this != &other) {
        give_up();
        writer_ = std::exchange(other.writer_, nullptr);
        next_ = other.next_;
        end_ = other.end_;
        published_ = other.published_;
    }
    return *this;
}

status chunk_fill::append(std::span<const std::byte> bytes) {
    if (!writer_ || bytes.size() > end_ - next_)
        return fail(error_kind::usage, "more bytes came than were asked for", EMSGSIZE);
    NEROFS_CHECK(write_fully(*writer_->io_, writer_->files_.data, bytes, next_));
    next_ += bytes.size();
    // The blob's last chunk may be short: it is whole at the blob's end.
    const std::uint64_t whole = next_ == writer_->map_.blob_bytes() ? writer_->map_.chunks() : next_ >> chunk_shift;
    if (whole > published_) {
        writer_->publish({published_, whole});
        published_ = whole;
    }
    return {};
}

void chunk_fill::give_up() {
    if (!writer_) return;
    const chunk_range rest = chunks_of(published_ << chunk_shift, end_ - std::min(end_, published_ << chunk_shift));
    if (!rest.empty()) writer_->abandon(rest);
    writer_ = nullptr;
}

}  // namespace nerofs::cache
