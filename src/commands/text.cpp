#include "commands/text.h"

#include <fmt/format.h>

namespace nerofs::commands {

std::string printable(std::string_view text) {
    std::string out;
    for (const char c : text)
        if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f)
            out += fmt::format("\\{:03o}", static_cast<unsigned>(c));
        else
            out += c;
    return out;
}

std::string size_text(std::uint64_t bytes) {
    constexpr std::uint64_t mib = 1 << 20;
    if (bytes < 10 * mib) return fmt::format("{} KiB", (bytes + 1023) / 1024);
    return fmt::format("{} MiB", (bytes + mib - 1) / mib);
}

}  // namespace nerofs::commands
