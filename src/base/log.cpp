#include "base/log.h"

#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>

namespace nerofs::log {
namespace {

std::atomic<level> most_verbose{level::info};
char name_text[64] = "nerofs";

}  // namespace

void set_level(level most) {
    most_verbose = most;
}

void set_name(std::string_view name) {
    const std::size_t size = std::min(name.size(), sizeof name_text - 1);
    std::memcpy(name_text, name.data(), size);
    name_text[size] = '\0';
}

void write(level at, std::string_view text) {
    if (at > most_verbose.load(std::memory_order_relaxed)) return;
    const int saved = errno;
    // UTC by arithmetic alone: libc's functions would read the time zone's file, which a sandboxed process must not.
    using namespace std::chrono;
    const auto now = floor<milliseconds>(system_clock::now());
    const auto midnight = floor<days>(now);
    const year_month_day date(midnight);
    const hh_mm_ss time(now - midnight);
    char head[160];
    const int size = std::snprintf(
        head, sizeof head, "%04d-%02u-%02uT%02d:%02d:%02d.%03dZ %s[%d]%s: ", static_cast<int>(date.year()),
        static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()), static_cast<int>(time.hours().count()),
        static_cast<int>(time.minutes().count()), static_cast<int>(time.seconds().count()),
        static_cast<int>(time.subseconds().count()), name_text, getpid(),
        at <= level::error     ? " error"
        : at == level::warning ? " warning"
                               : "");
    char newline = '\n';
    iovec parts_iov[3] = {{head, static_cast<std::size_t>(std::clamp(size, 0, static_cast<int>(sizeof head) - 1))},
                          {const_cast<char*>(text.data()), text.size()},
                          {&newline, 1}};
    (void)!::writev(STDERR_FILENO, parts_iov, 3);
    errno = saved;
}

}  // namespace nerofs::log
