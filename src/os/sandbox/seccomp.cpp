#include "os/sandbox/seccomp.h"

#include <seccomp.h>

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
