#include "cache/private_store.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>

#include "os/files.h"
#include "os/shared_memory.h"

namespace nerofs::cache {
namespace {

result<unique_fd> unlinked_file(const std::string& directory) {
    auto file = os::open_file(directory, O_RDWR | O_TMPFILE, 0600);
    if (file || (file.error().code != EOPNOTSUPP && file.error().code != EISDIR && file.error().code != EINVAL))
        return file;
    std::string path = directory + "/nerofs.XXXXXX";  // file systems without O_TMPFILE
    unique_fd made(::mkostemp(path.data(), O_CLOEXEC));
    if (!made) return fail_errno("create a file in '" + directory + "'");
    ::unlink(path.c_str());
    return made;
}

result<held_blob> with_map(const blob_key& key, unique_fd data, bool whole) {
    NEROFS_TRY(unique_fd map_file, os::make_memfd("nerofs-map", live_map_bytes(key.size())));
    if (const int code = ::posix_fallocate(map_file.get(), 0, static_cast<off_t>(live_map_bytes(key.size()))))
        return fail(errno_error(code, "make a private presence map"));
    NEROFS_TRY(const live_map map, live_map::map(map_file, key.size(), true));
    map.format({}, {}, {}, {}, whole);
    if (whole) map.set_present({0, map.chunks()});
    return held_blob(key, {}, std::move(data), std::move(map_file), {});
}

}  // namespace

result<unique_fd> new_private_file(const std::string& directory) {
    if (!directory.empty()) return unlinked_file(directory);
    unique_fd memory(::memfd_create("nerofs-data", MFD_CLOEXEC));
    if (!memory) return fail_errno("memfd_create");
    return memory;
}

result<held_blob> open_private(const blob_key& key, const std::string& directory) {
    if (directory.empty()) {
        NEROFS_TRY(unique_fd data, os::make_memfd("nerofs-data", key.size()));
        return with_map(key, std::move(data), false);
    }
    NEROFS_TRY(unique_fd data, unlinked_file(directory));
    if (::ftruncate(data.get(), static_cast<off_t>(key.size())) != 0) return fail_errno("make a private cache");
    return with_map(key, std::move(data), false);
}

result<held_blob> adopt_private(const blob_key& key, fd_ref file) {
    NEROFS_TRY(const std::uint64_t size, os::file_size(file));
    if (size != key.size()) return fail(error_kind::usage, "the file isn't of the blob's size");
    return with_map(key, duplicate(file), true);
}

}  // namespace nerofs::cache
