// How what was fetched becomes what is believed after a crash. docs/cache.md has the rule and the argument.
#include <cerrno>

#include "base/fault.h"
#include "cache/durable_map.h"
#include "cache/locks.h"
#include "cache/writer.h"
#include "os/files.h"

namespace nerofs::cache {
namespace {

// Bytes of lock file offsets in the durable map file.
constexpr std::uint64_t checkpoint_lock_at = std::uint64_t{1} << 40;

struct unlock_at_end {
    fd_ref file;
    ~unlock_at_end() { unlock_byte(file, checkpoint_lock_at); }
};

// The newest state in the file that is about this instance.
std::optional<durable_choice> read_durable(fd_ref file, std::uint64_t blob_bytes, const instance_id& instance) {
    std::vector<std::byte> content(durable_slots * durable_slot_bytes(blob_bytes));
    if (!os::pread_exact(file, content, 0)) return std::nullopt;
    std::optional<durable_choice> best = choose_durable_slot(content, blob_bytes);
    if (best && best->state.instance != instance) best.reset();
    return best;
}

}  // namespace

std::vector<std::uint64_t> blob_writer::kept() const {
    std::vector<std::uint64_t> bits(bitmap_words(map_.blob_bytes()));
    const auto best =
        files_.durable ? read_durable(files_.durable, map_.blob_bytes(), map_.header().instance) : std::nullopt;
    if (!best) return bits;
    const std::vector<std::uint64_t> there = map_.snapshot();
    for (std::size_t i = 0; i < bits.size(); ++i) bits[i] = best->state.bits[i] & ~there[i];
    return bits;
}

void blob_writer::confirm(chunk_range range) const {
    map_.set_present(range);
    map_.announce();
}

result<checkpoint_outcome> blob_writer::checkpoint() const {
    if (!files_.durable) return checkpoint_outcome::nowhere;
    if (map_.state() != blob_state::good) return fail(error_kind::corrupt, "the cached blob is bad", EIO);
    NEROFS_TRY(const bool mine, try_lock_byte(files_.durable, checkpoint_lock_at, lock_kind::exclusive));
    if (!mine) return checkpoint_outcome::busy;
    const unlock_at_end unlock{files_.durable};

    // 1. What is there now. Bits that come later wait for the next checkpoint. Verified is taken first: it is said
    //    after the last bit.
    durable_state next;
    next.instance = map_.header().instance;
    next.verified = map_.verified();
    next.bits = map_.snapshot();
    if (next.verified && map_.present_chunks() != map_.chunks()) next.verified = false;
    const auto best = read_durable(files_.durable, map_.blob_bytes(), next.instance);
    next.sequence = 1;
    unsigned slot = 0;
    if (best) {
        bool news = next.verified && !best->state.verified;
        for (std::size_t i = 0; i < next.bits.size(); ++i) {
            news = news || (next.bits[i] & ~best->state.bits[i]) != 0;
            // Chunks that another live map (another run directory) made durable stay so: bits are never taken back.
            next.bits[i] |= best->state.bits[i];
        }
        if (!news) return checkpoint_outcome::unchanged;
        next.verified = next.verified || best->state.verified;
        next.sequence = best->state.sequence + 1;
        slot = best->slot == 0 ? 1 : 0;
    }

    // 2. Their bytes.
    if (const int code = fault::point("cache.checkpoint.data"); code != 0 || io_->sync(files_.data) != 0) {
        const int why = code != 0 ? code : errno;
        // Linux reports lost writes once and drops the pages: what is there can't be known any more.
        if (why != EINTR) map_.change_state(blob_state::lost);
        return fail(errno_error(why, "the cache's disk lost written bytes: fdatasync"));
    }
    // 3. The slot that is overwritten may be the only one on disk, if whoever wrote the other died before syncing it.
    if (io_->sync(files_.durable) != 0) return fail_errno("write the presence map: fdatasync");
    (void)fault::point("cache.checkpoint.map");
    // 4. The map, in place of the older slot.
    const std::vector<std::byte> encoded = encode_durable_slot(next, map_.blob_bytes());
    if (auto written = write_fully(*io_, files_.durable, encoded, slot * encoded.size()); !written)
        return fail(std::move(written).error().in("write the presence map"));
    (void)fault::point("cache.checkpoint.sync");
    if (io_->sync(files_.durable) != 0) return fail_errno("write the presence map: fdatasync");
    return checkpoint_outcome::written;
}

}  // namespace nerofs::cache
