#include "serve/sandbox.h"

#include <fcntl.h>
#include <malloc.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include "base/log.h"
#include "os/sandbox/seccomp.h"

namespace nerofs::serve {

status enter_sandbox() {
    // One heap for all threads, which hardly use it. Beyond eight, libc would count the processors, in a file of sysfs.
    ::mallopt(M_ARENA_MAX, 1);

    // The program's own pages now, stacks and heap as they are used. Where locked memory is limited (nerofs serve by a
    // user) only the former: at the limit not even a thread could be started any more.
    rlimit lockable{};
    const bool unlimited = ::getrlimit(RLIMIT_MEMLOCK, &lockable) == 0 && lockable.rlim_cur == RLIM_INFINITY;
    if (::mlockall(MCL_CURRENT) == 0 && unlimited) ::mlockall(MCL_FUTURE | MCL_ONFAULT);

    if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return fail_errno("no_new_privs");
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    return {};  // the sanitizers' run-time needs far more
#else
    os::seccomp_filter filter;
    filter.allow_basics()
        .allow({SYS_sendfile, SYS_accept4})
        // Duplicates of the sockets for a new keeper.
        .allow_masked(SYS_fcntl, 1, 0xffffffff, F_DUPFD_CLOEXEC)
        // Whether reads of /dev/fuse wait; nothing else of a descriptor.
        .allow_masked(SYS_ioctl, 1, 0xffffffff, FIONBIO)
        .allow_masked(SYS_setsockopt, 1, 0xffffffff, IPPROTO_TCP)
        // Memory, but none that can be executed.
        .allow_masked(SYS_mmap, 2, PROT_EXEC, 0)
        .allow_masked(SYS_mprotect, 2, PROT_EXEC, 0)
        .allow_masked(SYS_prctl, 0, ~0ull, PR_SET_NAME);
    const status loaded = filter.load();
    if (!loaded && loaded.error().kind == error_kind::unsupported) {
        log::warning("this kernel has no seccomp: the server runs without a system-call filter");
        return {};
    }
    return loaded;
#endif
}

}  // namespace nerofs::serve
