#include "fetch/sandbox.h"

#include <sys/prctl.h>
#include <sys/syscall.h>

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
    filter.allow_basics()
        .allow({SYS_pwrite64, SYS_pwritev,   SYS_stat,       SYS_lstat,     SYS_statx,      SYS_statfs,     SYS_fstatfs,
                SYS_access,   SYS_faccessat, SYS_faccessat2, SYS_readlink,  SYS_readlinkat, SYS_getdents64, SYS_getcwd,
                SYS_open,     SYS_openat,    SYS_fdatasync,  SYS_fsync,     SYS_fcntl,      SYS_dup,        SYS_dup2,
                SYS_dup3,     SYS_pipe,      SYS_pipe2,      SYS_fadvise64, SYS_close_range})
        .allow({SYS_socket, SYS_socketpair, SYS_connect, SYS_bind, SYS_recvmmsg, SYS_setsockopt, SYS_getsockname,
                SYS_getpeername, SYS_ioctl})
        .allow({SYS_select, SYS_pselect6, SYS_timerfd_create, SYS_timerfd_settime, SYS_alarm})
        .allow({SYS_getppid, SYS_getuid, SYS_geteuid, SYS_getgid, SYS_getegid, SYS_uname, SYS_sysinfo, SYS_getcpu,
                SYS_getrlimit, SYS_getrusage, SYS_membarrier, SYS_prctl, SYS_clock_getres, SYS_gettimeofday, SYS_time})
        .allow({SYS_mmap, SYS_mprotect, SYS_mlock, SYS_munlock})
        // Its own limits can be asked for, nobody's set.
        .allow_masked(SYS_prlimit64, 2, ~0ull, 0)
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
