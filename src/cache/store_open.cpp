// Opening the cache directory and the blobs in it.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "base/fault.h"
#include "cache/directory.h"
#include "cache/locks.h"
#include "cache/store.h"
#include "cache/store_layout.h"
#include "codec/hex.h"
#include "os/files.h"

namespace nerofs::cache {
namespace {

using namespace std::chrono_literals;

// Locks of the store are held for a few calls to local file systems.
constexpr auto lock_patience = 5s;

bool is_whole(fd_ref file, std::uint64_t size) {
    struct stat found {};
    return ::fstat(file.get(), &found) == 0 && S_ISREG(found.st_mode) &&
           static_cast<std::uint64_t>(found.st_size) == size;
}

// A file with all of its blocks, so that a mapping of it can't fault for want of room.
status allocate(fd_ref file, std::uint64_t bytes) {
    if (const int code = fault::point("cache.allocate")) return fail(errno_error(code, "make room for a map"));
    const int code = ::posix_fallocate(file.get(), 0, static_cast<off_t>(bytes));
    if (code != 0) return fail(errno_error(code, "make room for a map"));
    return {};
}

}  // namespace

result<store> store::open(store_options options) {
    store s;
    if (options.boot_id.empty()) {
        NEROFS_TRY(options.boot_id, os::read_attribute("/proc/sys/kernel/random/boot_id"));
    }
    std::string digits;
    for (const char c : options.boot_id)
        if (c != '-') digits += c;
    if (!codec::from_hex(digits, s.boot_)) return fail(error_kind::usage, "not a boot id: " + options.boot_id);

    NEROFS_CHECK(os::make_directories(options.directory, 0700));
    NEROFS_CHECK(os::make_directories(options.run_directory, 0700));
    NEROFS_TRY(s.root_, os::open_file(options.directory, O_RDONLY | O_DIRECTORY));
    NEROFS_TRY(unique_fd run, os::open_file(options.run_directory, O_RDONLY | O_DIRECTORY));
    for (const auto& [fd, path] :
         {std::pair(fd_ref(s.root_), options.directory), std::pair(fd_ref(run), options.run_directory)}) {
        struct stat found {};
        if (::fstat(fd.get(), &found) != 0) return fail_errno(path);
        if (found.st_uid != ::geteuid() || (found.st_mode & 022) != 0)
            return fail(make_error(error_kind::permission, "'" + path + "' can be written by others", EPERM)
                            .with_hint("give the cache a directory of its own"));
    }
    NEROFS_TRY(s.blobs_, open_directory_in(s.root_, "blobs"));
    NEROFS_TRY(s.trash_, open_directory_in(s.root_, "trash"));
    NEROFS_TRY(s.quarantine_, open_directory_in(s.root_, "quarantine"));
    NEROFS_TRY(s.indexes_, open_directory_in(s.root_, "indexes"));
    // Several cache directories may share one run directory.
    NEROFS_TRY(const file_identity root, identity_of(s.root_));
    NEROFS_TRY(s.run_, open_directory_in(run, std::to_string(root.device) + "-" + std::to_string(root.inode)));
    s.options_ = std::move(options);
    return s;
}

// A blob's directory may be renamed away by an evictor between any two of these calls; the lock decides, and only a
// lock on the file that is still there counts.
result<store::locked_blob> store::pin_directory(const std::string& name) {
    const auto until = std::chrono::steady_clock::now() + lock_patience;
    for (;;) {
        locked_blob blob;
        NEROFS_TRY(blob.directory, open_directory_in(blobs_, name));
        auto lock = open_in(blob.directory, layout::lock_file, O_RDWR | O_CREAT, 0600);
        if (!lock && lock.error().code == ENOENT) continue;  // removed meanwhile
        if (!lock) return fail(std::move(lock).error());
        blob.lock = std::move(*lock);
        NEROFS_CHECK(lock_byte(blob.lock, layout::pin_at, lock_kind::shared, until));
        if (same_file(blob.directory, blobs_, name) && same_file(blob.lock, blob.directory, layout::lock_file))
            return blob;
        if (std::chrono::steady_clock::now() >= until)
            return fail(error_kind::retryable, "the blob is being removed again and again", EBUSY);
    }
}

result<held_blob> store::open_blob(const blob_key& key, kept_bytes kept) {
    return open_pinned(key, true, kept);
}

result<held_blob> store::open_pinned(const blob_key& key, bool used_now, kept_bytes kept) {
    NEROFS_TRY(const locked_blob blob, pin_directory(key.name()));
    // One opener at a time: the maps are read, and made if need be.
    NEROFS_CHECK(
        lock_byte(blob.lock, layout::open_at, lock_kind::exclusive, std::chrono::steady_clock::now() + lock_patience));
    struct unlock {
        fd_ref file;
        ~unlock() { unlock_byte(file, layout::open_at); }
    } const unlock_at_end{blob.lock};

    NEROFS_TRY(disk_state disk, open_disk_state(blob, key));
    blob_state state = blob_state::good;
    NEROFS_TRY(unique_fd live, open_live_map(key, disk, state, kept));
    if (state != blob_state::good) {
        const auto why = state == blob_state::quarantined ? reset_reason::quarantine : reset_reason::replace;
        NEROFS_TRY(disk, reset(blob, key, why, disk.durable.instance));
        state = blob_state::good;
        NEROFS_TRY(live, open_live_map(key, disk, state, kept));
    }
    if (used_now) ::futimens(blob.lock.get(), nullptr);
    // The pin goes to other processes: it must not carry the power to write, nor the opener's lock.
    NEROFS_TRY(unique_fd pin, open_in(blob.directory, layout::lock_file, O_RDONLY));
    NEROFS_CHECK(lock_byte(pin, layout::pin_at, lock_kind::shared, std::chrono::steady_clock::now()));
    return held_blob(key, std::move(pin), std::move(disk.data), std::move(live), std::move(disk.durable_file));
}

result<store::disk_state> store::open_disk_state(const locked_blob& blob, const blob_key& key) {
    const std::uint64_t map_bytes = durable_slots * durable_slot_bytes(key.size());
    auto file = open_in(blob.directory, layout::map_file, O_RDWR);
    if (!file && (file.error().code == ENOENT || file.error().code == ELOOP))
        return reset(blob, key, reset_reason::replace, std::nullopt);
    if (!file) return fail(std::move(file).error());
    if (!is_whole(*file, map_bytes)) return reset(blob, key, reset_reason::replace, std::nullopt);

    std::vector<std::byte> content(map_bytes);
    if (!os::pread_exact(*file, content, 0)) return reset(blob, key, reset_reason::replace, std::nullopt);
    auto best = choose_durable_slot(content, key.size());
    if (!best) return reset(blob, key, reset_reason::replace, std::nullopt);
    auto data = open_in(blob.directory, layout::data_file(best->state.instance), O_RDWR);
    if (!data || !is_whole(*data, key.size())) return reset(blob, key, reset_reason::replace, best->state.instance);

    return disk_state{std::move(best->state), std::move(*file), std::move(*data)};
}

// Begins a new instance: a new data file, and a map in place of the old one that is about it alone. A crash between
// any two steps leaves the old instance, the new one, or an empty one.
result<store::disk_state> store::reset(const locked_blob& blob, const blob_key& key, reset_reason why,
                                       const std::optional<instance_id>& old, fd_ref whole) {
    disk_state fresh;
    NEROFS_TRY(fresh.durable.instance, random_id());
    fresh.durable.sequence = 1;
    fresh.durable.bits.resize(bitmap_words(key.size()));
    const std::string data_name = layout::data_file(fresh.durable.instance);
    const std::string new_map = std::string(layout::map_file) + layout::new_suffix;

    const auto make = [&]() -> status {
        if (whole) {
            NEROFS_CHECK(link_into(blob.directory, data_name, whole));
            NEROFS_TRY(fresh.data, open_in(blob.directory, data_name, O_RDWR));
        } else {
            NEROFS_TRY(fresh.data, open_in(blob.directory, data_name, O_RDWR | O_CREAT | O_EXCL, 0600));
            if (::ftruncate(fresh.data.get(), static_cast<off_t>(key.size())) != 0)
                return fail_errno("make a data file");
        }
        ::unlinkat(blob.directory.get(), new_map.c_str(), 0);
        NEROFS_TRY(fresh.durable_file, open_in(blob.directory, new_map, O_RDWR | O_CREAT | O_EXCL, 0600));
        const std::uint64_t slot_bytes = durable_slot_bytes(key.size());
        NEROFS_CHECK(allocate(fresh.durable_file, durable_slots * slot_bytes));
        NEROFS_CHECK(
            write_fully(file_io::system(), fresh.durable_file, encode_durable_slot(fresh.durable, key.size()), 0));
        // Of a whole one nothing is believed to be durable yet: its first checkpoint waits for its bytes.
        if ((!whole && ::fsync(fresh.data.get()) != 0) || ::fsync(fresh.durable_file.get()) != 0)
            return fail_errno("fsync");
        if (::renameat(blob.directory.get(), new_map.c_str(), blob.directory.get(), layout::map_file) != 0)
            return fail_errno("replace the presence map");
        return {};
    };
    if (auto made = make(); !made) {
        ::unlinkat(blob.directory.get(), data_name.c_str(), 0);
        ::unlinkat(blob.directory.get(), new_map.c_str(), 0);
        return fail(std::move(made).error().in("cache"));
    }
    ::fsync(blob.directory.get());
    ::fsync(blobs_.get());
    // What the old instance had. Who uses it still has it open.
    if (const auto names = entries_of(blob.directory)) {
        for (const std::string& name : *names) {
            if (name == data_name || name == layout::map_file || name == layout::lock_file) continue;
            if (why == reset_reason::quarantine && old && name == layout::data_file(*old)) {
                const std::string aside = key.name() + "." + codec::to_hex(*old);
                if (::renameat(blob.directory.get(), name.c_str(), quarantine_.get(), aside.c_str()) == 0) continue;
            }
            ::unlinkat(blob.directory.get(), name.c_str(), 0);
        }
    }
    remove_live_maps(key.name());
    return fresh;
}

result<unique_fd> store::open_live_map(const blob_key& key, const disk_state& disk, blob_state& state,
                                       kept_bytes kept) {
    const std::string name = layout::live_map(key.name(), disk.durable.instance);
    if (auto file = open_in(run_, name, O_RDWR); file) {
        NEROFS_TRY(const file_identity data, identity_of(disk.data));
        const auto map = live_map::map(*file, key.size(), false);
        if (map && map->header().boot == boot_ && map->header().instance == disk.durable.instance &&
            map->header().data == data) {
            state = map->state();
            return std::move(*file);
        }
    }
    return make_live_map(key, disk, kept);
}

// A live map that isn't there, or not of this boot, begins with what is known to be durable, or without it. Complete
// before it has its name, so that nobody sees half of it.
result<unique_fd> store::make_live_map(const blob_key& key, const disk_state& disk, kept_bytes kept) {
    const std::string name = layout::live_map(key.name(), disk.durable.instance);
    const std::string temporary = name + layout::new_suffix;
    ::unlinkat(run_.get(), temporary.c_str(), 0);
    NEROFS_TRY(unique_fd file, open_in(run_, temporary, O_RDWR | O_CREAT | O_EXCL, 0600));
    const auto fill = [&]() -> status {
        NEROFS_CHECK(allocate(file, live_map_bytes(key.size())));
        NEROFS_TRY(const file_identity data, identity_of(disk.data));
        NEROFS_TRY(const live_map map, live_map::map(file, key.size(), true));
        const std::vector<std::uint64_t> nothing(kept == kept_bytes::believed ? 0 : disk.durable.bits.size());
        map.format(boot_, disk.durable.instance, data, nothing.empty() ? disk.durable.bits : nothing,
                   disk.durable.verified);
        if (::renameat(run_.get(), temporary.c_str(), run_.get(), name.c_str()) != 0) return fail_errno("rename");
        return {};
    };
    if (auto filled = fill(); !filled) {
        ::unlinkat(run_.get(), temporary.c_str(), 0);
        return fail(std::move(filled).error().in("live presence map"));
    }
    return file;
}

void store::remove_live_maps(const std::string& name) {
    const auto maps = entries_of(run_);
    if (!maps) return;
    for (const std::string& map : *maps)
        if (map.starts_with(name + ".")) ::unlinkat(run_.get(), map.c_str(), 0);
}

result<reader_files> held_blob::for_reader() const {
    reader_files files;
    NEROFS_TRY(files.data, reopen(data_, O_RDONLY));
    NEROFS_TRY(files.map, reopen(map_, O_RDONLY));
    return files;
}

result<writer_files> held_blob::for_writer() const {
    writer_files files;
    NEROFS_TRY(files.data, reopen(data_, O_RDWR));
    NEROFS_TRY(files.map, reopen(map_, O_RDWR));
    if (durable_) {
        NEROFS_TRY(files.durable, reopen(durable_, O_RDWR));
    }
    return files;
}

}  // namespace nerofs::cache
