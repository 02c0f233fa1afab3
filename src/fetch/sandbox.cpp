#include "fetch/sandbox.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

#include "base/log.h"
#include "os/sandbox/landlock.h"
#include "os/sandbox/seccomp.h"

namespace nerofs::fetch {
namespace {

// What name services, TLS and the C library read. A cage that isn't root's can't open more than others may anyway.
const std::vector<std::string> readable_places = {"/etc",
                                                  "/usr/lib",
                                                  "/usr/lib64",
                                                  "/lib",
                                                  "/lib64",
                                                  "/usr/local/share/ca-certificates",
                                                  "/usr/share/ca-certificates",
                                                  "/run/systemd/resolve",
                                                  "/run/nscd",
                                                  "/run/resolvconf",
                                                  "/dev/urandom",
                                                  "/dev/null",
                                                  "/usr/share/zoneinfo",
                                                  "/proc/self",
                                                  "/proc/sys"};

}  // namespace

status enter_sandbox(const std::vector<std::string>& readable) {
    if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return fail_errno("no_new_privs");
    ::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);  // secrets are in its memory
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    (void)readable;
    return {};  // the sanitizers' run-time needs far more
#else
    std::vector<std::string> places = readable_places;
    for (const std::string& place : readable)
        if (!place.empty()) places.push_back(place);
    if (const status closed = os::allow_reading_only(places); !closed) {
        if (closed.error().kind != error_kind::unsupported) return closed;
        log::info("this kernel has no landlock: the fetcher may open what everybody may");
    }

    // No new programs, no files cut or grown (the cache's maps are mapped by others), no namespaces, no tracing.
    os::seccomp_filter filter;
    filter
        .allow({SYS_read,      SYS_readv,      SYS_pread64,   SYS_preadv,     SYS_write,      SYS_writev,
                SYS_pwrite64,  SYS_pwritev,    SYS_close,     SYS_lseek,      SYS_fstat,      SYS_stat,
                SYS_lstat,     SYS_newfstatat, SYS_statx,     SYS_statfs,     SYS_fstatfs,    SYS_access,
                SYS_faccessat, SYS_faccessat2, SYS_readlink,  SYS_readlinkat, SYS_getdents64, SYS_getcwd,
                SYS_open,      SYS_openat,     SYS_fdatasync, SYS_fsync,      SYS_fcntl,      SYS_dup,
                SYS_dup2,      SYS_dup3,       SYS_pipe,      SYS_pipe2,      SYS_fadvise64,  SYS_close_range})
        .allow({SYS_socket, SYS_socketpair, SYS_connect, SYS_bind, SYS_sendto, SYS_sendmsg, SYS_sendmmsg, SYS_recvfrom,
                SYS_recvmsg, SYS_recvmmsg, SYS_shutdown, SYS_getsockopt, SYS_setsockopt, SYS_getsockname,
                SYS_getpeername, SYS_ioctl})
        .allow({SYS_poll, SYS_ppoll, SYS_select, SYS_pselect6, SYS_epoll_create1, SYS_epoll_ctl, SYS_epoll_wait,
                SYS_epoll_pwait, SYS_eventfd2, SYS_timerfd_create, SYS_timerfd_settime})
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
                SYS_getppid,
                SYS_getuid,
                SYS_geteuid,
                SYS_getgid,
                SYS_getegid,
                SYS_exit,
                SYS_exit_group,
                SYS_restart_syscall,
                SYS_clock_gettime,
                SYS_clock_getres,
                SYS_gettimeofday,
                SYS_time,
                SYS_clock_nanosleep,
                SYS_nanosleep,
                SYS_getrandom,
                SYS_uname,
                SYS_sysinfo,
                SYS_getrlimit,
                SYS_membarrier,
                SYS_getrusage,
                SYS_getcpu,
                SYS_alarm,
                SYS_brk,
                SYS_mmap,
                SYS_mprotect,
                SYS_munmap,
                SYS_mremap,
                SYS_madvise,
                SYS_tgkill,
                SYS_mlock,
                SYS_munlock,
                SYS_prctl})
        // Its own limits can be asked for, nobody's set.
        .allow_masked(SYS_prlimit64, 2, ~0ull, 0)
        // To itself alone (fault points).
        .allow_masked(SYS_kill, 0, 0xffffffff, static_cast<std::uint64_t>(::getpid()))
        // Threads, but no processes. clone3's arguments can't be seen by a filter: libc falls back to clone.
        .allow_masked(SYS_clone, 0, CLONE_THREAD, CLONE_THREAD)
        .refuse(SYS_clone3, ENOSYS)
        .refuse(SYS_execve, EPERM);
    const status loaded = filter.load();
    if (!loaded && loaded.error().kind == error_kind::unsupported) {
        log::warning("this kernel has no seccomp: the fetcher runs without a system-call filter");
        return {};
    }
    return loaded;
#endif
}

}  // namespace nerofs::fetch
