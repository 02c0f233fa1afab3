// What the fetcher has of a cached blob: it claims chunks, fills them, and makes them durable.
//
// Claims exist so that a chunk is fetched once however many processes want it. They are advice: a chunk that two fill
// at the same time gets the same bytes twice and no harm is done. So a claim may be taken from a claimant that died or
// doesn't move, and nobody ever waits for one for longer than he wants to.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"
#include "cache/file_io.h"
#include "cache/presence/live_map.h"

namespace nerofs::cache {

// Descriptors of one blob for one writer. Each has a description of its own (locks belong to it): they may be sent to
// another process, but the sender must close its copies, or the writer's claims outlive the writer.
struct writer_files {
    unique_fd data;     // read and write
    unique_fd map;      // read and write
    unique_fd durable;  // read and write; none for a private store
};

enum class claim_holder : std::uint8_t { nobody, this_writer, another, present };

enum class checkpoint_outcome : std::uint8_t {
    written,    // everything that was there at the call is durable now
    unchanged,  // it already was
    busy,       // another process is at it
    nowhere,    // a private store has nothing durable
};

class blob_writer;

// A run of claimed chunks being filled in order. Dropping it gives up what isn't filled.
class chunk_fill {
  public:
    chunk_fill() = default;
    chunk_fill(chunk_fill&& other) noexcept;
    chunk_fill& operator=(chunk_fill&& other) noexcept;
    ~chunk_fill() { give_up(); }

    // Where the next byte belongs, and where the last one does: ask the source for [next_offset(), end_offset()).
    std::uint64_t next_offset() const { return next_; }
    std::uint64_t end_offset() const { return end_; }
    bool done() const { return next_ == end_; }

    // The next bytes, in pieces of any size. Each chunk is there for everybody as soon as its last byte was written.
    // Blocks as pwrite(2) does. Kind usage for more bytes than belong here (nothing is written then). After another
    // error nothing is lost: the same bytes may be appended again; is_out_of_space tells a full disk.
    status append(std::span<const std::byte> bytes);

    void give_up();

  private:
    friend class blob_writer;
    chunk_fill(const blob_writer& writer, chunk_range range);

    const blob_writer* writer_ = nullptr;
    std::uint64_t next_ = 0;
    std::uint64_t end_ = 0;
    std::uint64_t published_ = 0;  // chunks before this one have been announced
};

// Any thread; must outlive its fills and stay where it is.
class blob_writer {
  public:
    // Takes a slot in the table of owners and clears what its last, dead holder left. Kind retryable when all are
    // taken. `io` must outlive the writer.
    static result<blob_writer> attach(writer_files files, std::uint64_t blob_bytes, file_io& io = file_io::system());
    blob_writer(blob_writer&& other) noexcept;
    blob_writer& operator=(blob_writer&&) = delete;
    ~blob_writer();

    const live_map& map() const { return map_; }
    fd_ref data() const { return files_.data; }
    unsigned owner() const { return owner_; }

    // Claims chunks from the front of `range` up to the first that is there or claimed, and says how many. Never
    // blocks. 0: look at holder_of(range.first).
    std::uint64_t claim(chunk_range range) const;
    claim_holder holder_of(std::uint64_t chunk) const;
    // Gives claims of this writer back, so that others may take them; filled chunks are left alone.
    void abandon(chunk_range range) const;
    // Frees the claims in the range whose holders are dead. How many; they can be claimed then. To be called now and
    // then (100 ms) while waiting for others: nobody announces a death.
    std::uint64_t release_dead(chunk_range range) const;
    // Takes over all claims of the range whoever has them: from holders that live but don't get on. How many weren't
    // there.
    std::uint64_t take_over(chunk_range range) const;

    // Begins to fill chunks that this writer has claimed.
    chunk_fill fill(chunk_range claimed) const { return {*this, claimed}; }

    // A bitmap of the chunks that are on disk since earlier, and not there for readers (kept_bytes::to_be_checked).
    // Reads the durable map.
    std::vector<std::uint64_t> kept() const;
    // These were looked at, and are there for readers from now on.
    void confirm(chunk_range range) const;

    // Every chunk is there. Cheap.
    bool complete() const;
    // The blob matched its digest: durable with the next checkpoint. It didn't: all reads of it fail from now on, here
    // and in every other process, and the store moves it aside.
    void mark_verified() const { map_.set_verified(); }
    void quarantine() const { map_.change_state(blob_state::quarantined); }
    // True for one writer at a time, until it goes: who may spend the time on checking the blob.
    bool take_verification() const;

    // Makes what is there durable: fdatasync, then the map. Blocks for as long as the disk takes; any thread, but not
    // one that others wait for. When the file system reports lost writes the blob becomes `lost`: reads of it fail,
    // and the next one to open it starts afresh. Kind permanent.
    result<checkpoint_outcome> checkpoint() const;

  private:
    friend class chunk_fill;
    blob_writer(writer_files files, live_map map, unsigned owner, file_io& io)
        : files_(std::move(files)), map_(std::move(map)), owner_(owner), io_(&io) {}

    std::uint16_t id() const { return static_cast<std::uint16_t>(owner_ + 1); }
    bool claim_one(std::uint64_t chunk) const;
    bool alive(std::uint16_t claimant) const;
    void publish(chunk_range range) const;
    void clear_claims(chunk_range range, std::uint16_t claimant) const;
    bool in_bounds(chunk_range range) const { return range.first <= range.end && range.end <= map_.chunks(); }

    writer_files files_;
    live_map map_;
    unsigned owner_ = 0;
    file_io* io_;
    mutable std::atomic<std::uint64_t> known_present_{0};  // all chunks before this one are there
};

}  // namespace nerofs::cache
