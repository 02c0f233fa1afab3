#include "base/unique_fd.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

namespace nerofs {

void unique_fd::reset(int fd) {
    const int old = std::exchange(fd_, fd);
    if (old >= 0) {
        const int saved = errno;  // closing on the way out must not hide the cause of a failure
        ::close(old);
        errno = saved;
    }
}

unique_fd duplicate(fd_ref fd) {
    return fd ? unique_fd(::fcntl(fd.get(), F_DUPFD_CLOEXEC, STDERR_FILENO + 1)) : unique_fd();
}

}  // namespace nerofs
