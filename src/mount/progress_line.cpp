#include "mount/progress_line.h"

#include <unistd.h>

#include <cstdio>

namespace nerofs::mount {

void progress_line::show(const std::string& what) {
    if (::isatty(STDERR_FILENO) != 1) return;
    std::string text;
    for (const char c : what)
        if (static_cast<unsigned char>(c) >= 0x20 && c != 0x7f) text += c;
    std::fprintf(stderr, "\r\033[Knerofs: %s ...", text.c_str());
    shown_ = true;
}

void progress_line::clear() {
    if (shown_) std::fputs("\r\033[K", stderr);
    shown_ = false;
}

}  // namespace nerofs::mount
