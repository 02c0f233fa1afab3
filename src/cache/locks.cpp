#include "cache/locks.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <string>
#include <thread>

namespace nerofs::cache {
namespace {

struct flock one_byte(std::uint64_t at, short type) {
    struct flock lock {};
    lock.l_type = type;
    lock.l_whence = SEEK_SET;
    lock.l_start = static_cast<off_t>(at);
    lock.l_len = 1;
    return lock;
}

}  // namespace

result<bool> try_lock_byte(fd_ref file, std::uint64_t at, lock_kind kind) {
    struct flock lock = one_byte(at, kind == lock_kind::shared ? F_RDLCK : F_WRLCK);
    while (::fcntl(file.get(), F_OFD_SETLK, &lock) != 0) {
        if (errno == EINTR) continue;
        if (errno == EAGAIN || errno == EACCES) return false;
        return fail_errno("lock");
    }
    return true;
}

status lock_byte(fd_ref file, std::uint64_t at, lock_kind kind, std::chrono::steady_clock::time_point until) {
    // F_OFD_SETLKW has no deadline, and a holder may have been stopped.
    std::chrono::microseconds pause(200);
    for (;;) {
        NEROFS_TRY(const bool locked, try_lock_byte(file, at, kind));
        if (locked) return {};
        if (std::chrono::steady_clock::now() >= until)
            return fail(error_kind::timeout, "lock: somebody else keeps it", ETIMEDOUT);
        std::this_thread::sleep_for(pause);
        pause = std::min(pause * 2, std::chrono::microseconds(20000));
    }
}

void unlock_byte(fd_ref file, std::uint64_t at) {
    struct flock lock = one_byte(at, F_UNLCK);
    ::fcntl(file.get(), F_OFD_SETLK, &lock);
}

bool locked_by_another(fd_ref file, std::uint64_t at) {
    struct flock lock = one_byte(at, F_WRLCK);
    if (::fcntl(file.get(), F_OFD_GETLK, &lock) != 0) return true;
    return lock.l_type != F_UNLCK;
}

result<unique_fd> reopen(fd_ref file, int flags) {
    const std::string path = "/proc/self/fd/" + std::to_string(file.get());
    unique_fd again(::open(path.c_str(), flags | O_CLOEXEC));
    if (!again) return fail_errno("open a file again");
    return again;
}

}  // namespace nerofs::cache
