// What comes into the cache as a whole file: blobs that were made or decoded on this machine, and indexes of layers.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <vector>

#include "cache/directory.h"
#include "cache/locks.h"
#include "cache/store.h"
#include "cache/store_layout.h"
#include "codec/hex.h"
#include "os/files.h"

namespace nerofs::cache {
namespace {

constexpr std::size_t compared_bytes = std::size_t{1} << 20;
constexpr auto index_life = std::chrono::hours(7 * 24);

// "sha256:<hex>" as the name of an index.
result<std::string> index_name(const std::string& digest) {
    NEROFS_TRY(const blob_key key, blob_key::from_digest(digest, 1));
    return digest.substr(digest.find(':') + 1);
}

void set_all(std::vector<std::uint64_t>& bits, std::uint64_t count) {
    for (std::uint64_t i = 0; i < count; ++i) bits[i / 64] |= std::uint64_t{1} << (i % 64);
}

bool same_bytes(fd_ref one, fd_ref other, std::uint64_t size) {
    std::vector<std::byte> a(compared_bytes);
    std::vector<std::byte> b(compared_bytes);
    for (std::uint64_t at = 0; at < size; at += compared_bytes) {
        const std::size_t n = std::min<std::uint64_t>(compared_bytes, size - at);
        if (!os::pread_exact(one, std::span(a).first(n), at) || !os::pread_exact(other, std::span(b).first(n), at) ||
            std::memcmp(a.data(), b.data(), n) != 0)
            return false;
    }
    return true;
}

}  // namespace

result<unique_fd> store::new_file() {
    unique_fd file(::openat(trash_.get(), ".", O_RDWR | O_TMPFILE | O_CLOEXEC, 0600));
    if (file) return file;
    if (errno != EOPNOTSUPP && errno != EISDIR && errno != EINVAL) return fail_errno("make a file in the cache");
    // A file system without O_TMPFILE: one with a name that whoever empties the trash may take away.
    NEROFS_TRY(const instance_id id, random_id());
    return open_in(trash_, codec::to_hex(id), O_RDWR | O_CREAT | O_EXCL, 0600);
}

result<held_blob> store::adopt(const blob_key& key, fd_ref file) {
    NEROFS_TRY(const std::uint64_t size, os::file_size(file));
    if (size != key.size()) return fail(error_kind::usage, "the file isn't of the blob's size");
    {
        NEROFS_TRY(held_blob held, open_blob(key));
        NEROFS_TRY(const live_map map, live_map::map(held.map(), key.size(), false));
        if (map.present_chunks() == map.chunks() && same_bytes(held.data(), file, size)) return held;
    }
    {
        NEROFS_TRY(const auto unused, lock_unused(key.name()));
        if (unused) {
            NEROFS_TRY(disk_state disk, reset(*unused, key, reset_reason::replace, std::nullopt, file));
            set_all(disk.durable.bits, chunk_count(key.size()));
            disk.durable.verified = true;
            NEROFS_TRY(const unique_fd live, make_live_map(key, disk, kept_bytes::believed));
        }
    }
    return open_blob(key);
}

std::optional<unique_fd> store::open_index(const std::string& digest) {
    const auto name = index_name(digest);
    if (!name) return std::nullopt;
    ::utimensat(indexes_.get(), name->c_str(), nullptr, AT_SYMLINK_NOFOLLOW);
    auto file = open_in(indexes_, *name, O_RDONLY);
    return file ? std::optional(std::move(*file)) : std::nullopt;
}

// Complete before it has its name; what a crash of the machine leaves of it is told by its own digest.
status store::keep_index(const std::string& digest, fd_ref file) {
    NEROFS_TRY(const std::string name, index_name(digest));
    NEROFS_TRY(const instance_id id, random_id());
    const std::string temporary = name + "." + codec::to_hex(id) + layout::new_suffix;
    NEROFS_CHECK(link_into(indexes_, temporary, file));
    if (::renameat(indexes_.get(), temporary.c_str(), indexes_.get(), name.c_str()) != 0) {
        const error why = errno_error("keep an index");
        ::unlinkat(indexes_.get(), temporary.c_str(), 0);
        return fail(why);
    }
    return {};
}

// Bytes that it freed.
std::uint64_t store::remove_old_indexes() {
    const auto all = entries_of(indexes_);
    if (!all) return 0;
    std::uint64_t freed = 0;
    const auto now = std::chrono::system_clock::now();
    for (const std::string& name : *all) {
        struct stat found {};
        if (::fstatat(indexes_.get(), name.c_str(), &found, AT_SYMLINK_NOFOLLOW) != 0) continue;
        const auto used = std::chrono::system_clock::from_time_t(found.st_mtime);
        const bool unfinished = name.ends_with(layout::new_suffix) && now - used > std::chrono::hours(1);
        if (!unfinished && now - used < index_life) continue;
        if (::unlinkat(indexes_.get(), name.c_str(), 0) == 0)
            freed += static_cast<std::uint64_t>(found.st_blocks) * 512;
    }
    return freed;
}

}  // namespace nerofs::cache
