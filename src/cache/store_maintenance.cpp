// Eviction, listing, removal: everything that looks at blobs nobody asked for.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>

#include "base/fault.h"
#include "cache/directory.h"
#include "cache/locks.h"
#include "cache/store.h"
#include "cache/store_layout.h"
#include "codec/hex.h"
#include "os/files.h"

namespace nerofs::cache {
namespace {

std::chrono::system_clock::time_point modified(fd_ref file) {
    struct stat found {};
    if (::fstat(file.get(), &found) != 0) return {};
    return std::chrono::system_clock::time_point(std::chrono::duration_cast<std::chrono::system_clock::duration>(
        std::chrono::seconds(found.st_mtim.tv_sec) + std::chrono::nanoseconds(found.st_mtim.tv_nsec)));
}

}  // namespace

result<std::vector<std::string>> store::names() {
    NEROFS_TRY(std::vector<std::string> all, entries_of(blobs_));
    std::erase_if(all, [](const std::string& name) { return !blob_key::from_name(name); });
    return all;
}

// Nothing when it is in use or gone.
result<std::optional<store::locked_blob>> store::lock_unused(const std::string& name) {
    locked_blob blob;
    auto directory = open_in(blobs_, name, O_RDONLY | O_DIRECTORY);
    if (!directory && directory.error().code == ENOENT) return std::nullopt;
    if (!directory) return fail(std::move(directory).error());
    blob.directory = std::move(*directory);
    NEROFS_TRY(blob.lock, open_in(blob.directory, layout::lock_file, O_RDWR | O_CREAT, 0600));
    NEROFS_TRY(const bool unused, try_lock_byte(blob.lock, layout::pin_at, lock_kind::exclusive));
    if (!unused || !same_file(blob.directory, blobs_, name) || !same_file(blob.lock, blob.directory, layout::lock_file))
        return std::nullopt;
    return blob;
}

// Out of sight by one rename, so that a crash leaves the blob or rubbish, then gone. The directory may be opened by
// somebody who waits for its lock: he will see that it is no longer the one of that name.
result<std::uint64_t> store::remove_locked(const std::string& name, const locked_blob& blob) {
    NEROFS_TRY(const instance_id id, random_id());
    const std::string trash_name = codec::to_hex(id);
    (void)fault::point("cache.evict");
    if (::renameat(blobs_.get(), name.c_str(), trash_.get(), trash_name.c_str()) != 0)
        return fail_errno("remove '" + name + "'");
    // Who waits for the lock sees that this isn't the blob any more; the files may take long.
    unlock_byte(blob.lock, layout::pin_at);
    (void)fault::point("cache.evicted");
    remove_live_maps(name);
    const std::uint64_t freed = remove_entries(blob.directory);
    ::unlinkat(trash_.get(), trash_name.c_str(), AT_REMOVEDIR);
    return freed;
}

result<blob_info> store::inspect(const blob_key& key) {
    blob_info info;
    info.key = key;
    NEROFS_TRY(const unique_fd directory, open_in(blobs_, key.name(), O_RDONLY | O_DIRECTORY));
    std::optional<durable_state> durable;
    NEROFS_TRY(const auto files, entries_of(directory));
    for (const std::string& file : files) {
        const auto fd = open_in(directory, file, O_RDONLY | O_NONBLOCK);
        if (!fd) continue;
        info.disk_bytes += disk_bytes_of(*fd);
        if (file == layout::lock_file) {
            info.last_use = modified(*fd);
            info.pinned = locked_by_another(*fd, layout::pin_at);
        } else if (file == layout::map_file) {
            std::vector<std::byte> content(durable_slots * durable_slot_bytes(key.size()));
            if (os::pread_exact(*fd, content, 0))
                if (auto best = choose_durable_slot(content, key.size())) durable = std::move(best->state);
        }
    }
    if (!durable) return info;
    info.verified = durable->verified;
    const auto live = open_in(run_, layout::live_map(key.name(), durable->instance), O_RDONLY);
    if (const auto map = live ? live_map::map(*live, key.size(), false) : fail(error_kind::not_found, "");
        map && map->header().boot == boot_) {
        const std::vector<std::uint64_t> there = map->snapshot();
        for (std::size_t i = 0; i < there.size(); ++i) durable->bits[i] |= there[i];
        info.verified = map->verified();
    }
    std::uint64_t count = 0;
    for (const std::uint64_t word : durable->bits) count += static_cast<std::uint64_t>(std::popcount(word));
    info.present_bytes = std::min(count << chunk_shift, key.size());
    return info;
}

result<std::vector<blob_info>> store::list() {
    NEROFS_TRY(const auto all, names());
    std::vector<blob_info> list;
    for (const std::string& name : all) {
        NEROFS_TRY(const blob_key key, blob_key::from_name(name));
        if (auto info = inspect(key)) list.push_back(std::move(*info));  // else it has gone meanwhile
    }
    return list;
}

result<store_usage> store::evict(const std::function<bool(std::uint64_t, std::uint64_t)>& enough) {
    NEROFS_TRY(auto blobs, list());
    std::sort(blobs.begin(), blobs.end(), [](const blob_info& a, const blob_info& b) {
        return std::pair(a.last_use, a.key.name()) < std::pair(b.last_use, b.key.name());
    });
    store_usage usage;
    for (const blob_info& blob : blobs) usage.used_bytes += blob.disk_bytes;
    const auto done = [&] { return enough(usage.used_bytes, usage.freed_bytes); };
    // Rubbish first, then what was found wrong, then what wasn't used for the longest time.
    if (!done()) {
        empty_trash();
        usage.freed_bytes += remove_entries(quarantine_);
        usage.freed_bytes += remove_old_indexes();
    }
    for (const blob_info& blob : blobs) {
        if (done()) break;
        if (blob.pinned) continue;
        const auto locked = lock_unused(blob.key.name());
        if (!locked || !*locked) continue;
        const auto freed = remove_locked(blob.key.name(), **locked);
        if (!freed) continue;
        usage.used_bytes -= std::min(usage.used_bytes, blob.disk_bytes);
        usage.freed_bytes += *freed;
        ++usage.removed;
    }
    usage.within_budget = options_.budget_bytes == 0 || usage.used_bytes <= options_.budget_bytes;
    return usage;
}

result<store_usage> store::make_room(std::uint64_t bytes) {
    const std::uint64_t budget = options_.budget_bytes;
    NEROFS_TRY(store_usage usage, evict([=](std::uint64_t used, std::uint64_t) {
                   return budget == 0 || (bytes <= budget && used <= budget - bytes);
               }));
    usage.within_budget = budget == 0 || (bytes <= budget && usage.used_bytes <= budget - bytes);
    return usage;
}

result<store_usage> store::free_bytes(std::uint64_t bytes) {
    return evict([=](std::uint64_t, std::uint64_t freed) { return freed >= bytes; });
}

result<std::uint64_t> store::remove(const blob_key& key) {
    struct stat found {};
    if (::fstatat(blobs_.get(), key.name().c_str(), &found, AT_SYMLINK_NOFOLLOW) != 0)
        return fail_errno("blob '" + key.name() + "'");
    NEROFS_TRY(const auto locked, lock_unused(key.name()));
    if (!locked) return fail(error_kind::retryable, "blob '" + key.name() + "' is in use", EBUSY);
    return remove_locked(key.name(), *locked);
}

// The disk is waited for with the blob pinned like any user's; the exclusive lock is only held for the last look.
status store::settle(const blob_key& key) {
    return settle(key, true);
}

status store::settle(const blob_key& key, bool used_now) {
    NEROFS_TRY(const auto maps, entries_of(run_));
    if (std::none_of(maps.begin(), maps.end(), [&](const auto& map) { return map.starts_with(key.name() + "."); })) {
        if (!used_now) return {};
        const auto lock = open_in(blobs_, key.name() + "/" + layout::lock_file, O_RDWR);
        if (lock) ::futimens(lock->get(), nullptr);
        return {};
    }
    {
        NEROFS_TRY(const auto unused, lock_unused(key.name()));
        if (!unused) return {};
    }
    NEROFS_TRY(held_blob held, open_pinned(key, used_now));
    NEROFS_TRY(writer_files files, held.for_writer());
    NEROFS_TRY(const blob_writer writer, blob_writer::attach(std::move(files), key.size()));
    NEROFS_TRY(const checkpoint_outcome outcome, writer.checkpoint());
    if (outcome == checkpoint_outcome::busy) return {};
    const std::uint32_t seen = writer.map().generation();
    held.unpin();
    NEROFS_TRY(const auto unused, lock_unused(key.name()));
    // Whoever came meanwhile settles it; whoever came and went has left its mark.
    if (unused && writer.map().generation() == seen) remove_live_maps(key.name());
    return {};
}

void store::empty_trash() {
    const fd_ref parent = trash_;
    const auto entries = entries_of(parent);
    if (!entries) return;
    for (const std::string& name : *entries) {
        if (const auto directory = open_in(parent, name, O_RDONLY | O_DIRECTORY)) remove_entries(*directory);
        if (::unlinkat(parent.get(), name.c_str(), AT_REMOVEDIR) != 0) ::unlinkat(parent.get(), name.c_str(), 0);
    }
}

result<store_usage> store::gc() {
    empty_trash();
    const std::uint64_t freed = remove_entries(quarantine_) + remove_old_indexes();
    NEROFS_TRY(const auto all, names());
    for (const std::string& name : all) {
        NEROFS_TRY(const blob_key key, blob_key::from_name(name));
        (void)settle(key, false);  // one that can't be settled is left for its next user
    }
    // Live maps of blobs that are gone, and what a crash left half made.
    NEROFS_TRY(const auto maps, entries_of(run_));
    for (const std::string& map : maps) {
        const std::string name = map.substr(0, map.find('.'));
        if (!blob_key::from_name(name)) continue;  // not ours
        struct stat found {};
        // Asked now: it may have been made since the listing. Its directory is made before its map.
        if (::fstatat(blobs_.get(), name.c_str(), &found, AT_SYMLINK_NOFOLLOW) != 0 && errno == ENOENT)
            ::unlinkat(run_.get(), map.c_str(), 0);
    }
    NEROFS_TRY(store_usage usage, make_room(0));
    usage.freed_bytes += freed;
    return usage;
}

}  // namespace nerofs::cache
