#include "os/sandbox/seccomp.h"

#include <sched.h>
#include <seccomp.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

namespace nerofs::os {
namespace {
scmp_filter_ctx as_context(void* p) {
    return p;
}
}  // namespace

seccomp_filter::seccomp_filter() : context_(seccomp_init(SCMP_ACT_KILL_PROCESS)) {
    if (!context_) failed_ = ENOMEM;
}

seccomp_filter::~seccomp_filter() {
    if (context_) seccomp_release(as_context(context_));
}

seccomp_filter& seccomp_filter::allow_basics() {
    allow({SYS_read, SYS_readv, SYS_pread64, SYS_preadv, SYS_write, SYS_writev, SYS_lseek, SYS_fstat, SYS_newfstatat,
           SYS_close});
    allow({SYS_recvfrom, SYS_recvmsg, SYS_sendto, SYS_sendmsg, SYS_sendmmsg, SYS_shutdown, SYS_getsockopt});
    allow({SYS_poll, SYS_ppoll, SYS_epoll_create1, SYS_epoll_ctl, SYS_epoll_wait, SYS_epoll_pwait, SYS_eventfd2});
    allow({SYS_futex, SYS_set_robust_list, SYS_rseq, SYS_sched_yield, SYS_sched_getaffinity, SYS_gettid, SYS_getpid,
           SYS_exit, SYS_exit_group});
    allow({SYS_rt_sigprocmask, SYS_rt_sigaction, SYS_rt_sigreturn, SYS_sigaltstack, SYS_restart_syscall, SYS_tgkill});
    allow({SYS_brk, SYS_munmap, SYS_mremap, SYS_madvise});
    allow({SYS_clock_gettime, SYS_clock_nanosleep, SYS_nanosleep, SYS_getrandom});
    allow_masked(SYS_kill, 0, 0xffffffff, static_cast<std::uint64_t>(::getpid()));
    // clone3's arguments can't be seen by a filter: libc falls back to clone.
    return allow_masked(SYS_clone, 0, CLONE_THREAD, CLONE_THREAD).refuse(SYS_clone3, ENOSYS);
}

seccomp_filter& seccomp_filter::allow(std::initializer_list<int> calls) {
    for (const int call : calls)
        if (context_ && !failed_) failed_ = -seccomp_rule_add(as_context(context_), SCMP_ACT_ALLOW, call, 0);
    return *this;
}

seccomp_filter& seccomp_filter::allow_masked(int call, unsigned argument, std::uint64_t mask, std::uint64_t value) {
    const scmp_arg_cmp condition{argument, SCMP_CMP_MASKED_EQ, mask, value};
    if (context_ && !failed_)
        failed_ = -seccomp_rule_add_array(as_context(context_), SCMP_ACT_ALLOW, call, 1, &condition);
    return *this;
}

seccomp_filter& seccomp_filter::refuse(int call, int code) {
    if (context_ && !failed_)
        failed_ = -seccomp_rule_add(as_context(context_), SCMP_ACT_ERRNO(static_cast<std::uint32_t>(code)), call, 0);
    return *this;
}

status seccomp_filter::load() {
    if (failed_) return fail(errno_error(failed_, "seccomp filter"));
    seccomp_attr_set(as_context(context_), SCMP_FLTATR_CTL_TSYNC, 1);
    if (const int code = seccomp_load(as_context(context_)); code != 0) {
        error e = errno_error(-code, "seccomp filter");
        if (-code == EINVAL || -code == ENOSYS) e.kind = error_kind::unsupported;
        return fail(std::move(e));
    }
    return {};
}

}  // namespace nerofs::os
