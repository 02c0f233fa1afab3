// Fault points: named places at which a test can make a process die, stop, fail or cut what it sends. Compiled in only
// with -DNEROFS_FAULTS=ON; otherwise each is a constant that the compiler removes.
//
// The environment variable NEROFS_FAULT holds a plan: "point:action[:nth[:argument]]", several separated by commas. The
// action is taken the nth time (from 1, default 1) that the process comes to the point, or each time with '*'.
// Actions: kill (SIGKILL to itself), abort, stop (SIGSTOP), exit, errno (fail with errno `argument`), limit (send at
// most `argument` bytes), and anything a caller asks for by name.
#pragma once

#include <cstddef>
#include <string_view>

namespace nerofs::fault {

#if NEROFS_FAULTS

// Comes to a point; dies there if the plan says so. Returns the errno to fail with, or 0 to go on.
int point(std::string_view name);
// The largest number of bytes to handle at this point, at most `wanted`.
std::size_t limit(std::string_view name, std::size_t wanted);
// Replaces the plan (tests in one process). The text must outlive its use.
void set_plan(std::string_view plan);
// In-process tests: instead of dying, point() calls this with the point's name. nullptr: die.
void set_killer(void (*killer)(std::string_view));

#else

constexpr int point(std::string_view) {
    return 0;
}
constexpr std::size_t limit(std::string_view, std::size_t wanted) {
    return wanted;
}

#endif

}  // namespace nerofs::fault
