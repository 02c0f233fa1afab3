// A system-call filter (libseccomp): what isn't named ends the process.
#pragma once

#include <cstdint>
#include <initializer_list>

#include "base/result.h"

namespace nerofs::os {

class seccomp_filter {
  public:
    // Calls that aren't allowed kill the process (SIGSYS), which its keeper reports.
    seccomp_filter();
    ~seccomp_filter();
    seccomp_filter(const seccomp_filter&) = delete;
    seccomp_filter& operator=(const seccomp_filter&) = delete;

    // What each of our confined processes does: threads but no processes, descriptors it has read, written and waited
    // for, heap, time, signals to itself alone (fault points), its end. Nothing is opened and no memory mapped by it.
    seccomp_filter& allow_basics();
    seccomp_filter& allow(std::initializer_list<int> calls);
    // Allowed only when (argument & mask) == value. `argument` counts from 0.
    seccomp_filter& allow_masked(int call, unsigned argument, std::uint64_t mask, std::uint64_t value);
    // Answered with that errno instead of death (for calls that libc tries before older ones).
    seccomp_filter& refuse(int call, int code);

    // Puts it into force for all threads of this process. Needs no_new_privs. Kind unsupported where the kernel has
    // none.
    status load();

  private:
    void* context_;
    int failed_ = 0;
};

}  // namespace nerofs::os
