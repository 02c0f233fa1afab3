#include "cache/private_store.h"

#include <fcntl.h>
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

}  // namespace

result<held_blob> open_private(const blob_key& key, const std::string& directory) {
    unique_fd data;
    if (directory.empty()) {
        NEROFS_TRY(data, os::make_memfd("nerofs-data", key.size()));
    } else {
        NEROFS_TRY(data, unlinked_file(directory));
        if (::ftruncate(data.get(), static_cast<off_t>(key.size())) != 0) return fail_errno("make a private cache");
    }
    NEROFS_TRY(unique_fd map_file, os::make_memfd("nerofs-map", live_map_bytes(key.size())));
    if (const int code = ::posix_fallocate(map_file.get(), 0, static_cast<off_t>(live_map_bytes(key.size()))))
        return fail(errno_error(code, "make a private presence map"));
    NEROFS_TRY(const live_map map, live_map::map(map_file, key.size(), true));
    map.format({}, {}, {}, {}, false);
    return held_blob(key, {}, std::move(data), std::move(map_file), {});
}

}  // namespace nerofs::cache
