#include "serve/sandbox.h"

#include <fcntl.h>
#include <malloc.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

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
    filter
        .allow({SYS_read, SYS_readv, SYS_pread64, SYS_preadv, SYS_write, SYS_writev, SYS_sendfile, SYS_recvfrom,
                SYS_recvmsg, SYS_sendto, SYS_sendmsg, SYS_sendmmsg, SYS_shutdown, SYS_close, SYS_accept4,
                SYS_getsockopt})
        .allow({SYS_poll, SYS_ppoll, SYS_epoll_create1, SYS_epoll_ctl, SYS_epoll_wait, SYS_epoll_pwait, SYS_eventfd2})
        .allow({SYS_futex,
                SYS_set_robust_list,
                SYS_rseq,
                SYS_rt_sigprocmask,
                SYS_rt_sigaction,
                SYS_rt_sigreturn,
                SYS_sigaltstack,
                SYS_sched_yield,
                SYS_sched_getaffinity,
                SYS_gettid,
                SYS_getpid,
                SYS_exit,
                SYS_exit_group,
                SYS_restart_syscall,
                SYS_clock_gettime,
                SYS_clock_nanosleep,
                SYS_nanosleep,
                SYS_getrandom,
                SYS_brk,
                SYS_munmap,
                SYS_mremap,
                SYS_madvise,
                SYS_lseek,
                SYS_fstat,
                SYS_newfstatat,
                SYS_tgkill})
        // Duplicates of the sockets for a new keeper.
        .allow_masked(SYS_fcntl, 1, 0xffffffff, F_DUPFD_CLOEXEC)
        // Whether reads of /dev/fuse wait; nothing else of a descriptor.
        .allow_masked(SYS_ioctl, 1, 0xffffffff, FIONBIO)
        .allow_masked(SYS_setsockopt, 1, 0xffffffff, IPPROTO_TCP)
        // To itself alone (fault points).
        .allow_masked(SYS_kill, 0, 0xffffffff, static_cast<std::uint64_t>(::getpid()))
        // Memory, but none that can be executed.
        .allow_masked(SYS_mmap, 2, PROT_EXEC, 0)
        .allow_masked(SYS_mprotect, 2, PROT_EXEC, 0)
        // Threads, but no processes. clone3's arguments can't be seen by a filter: libc falls back to clone.
        .allow_masked(SYS_clone, 0, CLONE_THREAD, CLONE_THREAD)
        .refuse(SYS_clone3, ENOSYS)
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
