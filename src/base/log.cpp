#include "base/log.h"

#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <ctime>

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
    timespec now{};
    clock_gettime(CLOCK_REALTIME, &now);
    tm parts{};
    gmtime_r(&now.tv_sec, &parts);  // UTC: localtime would read files, which a sandboxed process can't
    char head[160];
    const int size = std::snprintf(
        head, sizeof head, "%04d-%02d-%02dT%02d:%02d:%02d.%03ldZ %s[%d]%s: ", parts.tm_year + 1900, parts.tm_mon + 1,
        parts.tm_mday, parts.tm_hour, parts.tm_min, parts.tm_sec, now.tv_nsec / 1000000, name_text, getpid(),
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
