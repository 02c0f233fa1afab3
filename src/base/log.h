// The log line of the daemons. Libraries don't log; the process that handles an error says it once.
#pragma once

#include <cstdint>
#include <string_view>

namespace nerofs::log {

enum class level : std::uint8_t { error = 3, warning = 4, info = 6, debug = 7 };  // syslog's numbers

// Lines above this level are dropped. Set once, before threads start.
void set_level(level most);
// "nerofs-keeper[nbd0]": who speaks; put in front of each line. Set before threads start or when the name is known.
void set_name(std::string_view name);

// One line to standard error: "<time> <name>: <text>". One write(2), so lines of several processes don't mix. Doesn't
// allocate and never fails.
void write(level at, std::string_view text);

inline void error(std::string_view text) {
    write(level::error, text);
}
inline void warning(std::string_view text) {
    write(level::warning, text);
}
inline void info(std::string_view text) {
    write(level::info, text);
}
inline void debug(std::string_view text) {
    write(level::debug, text);
}

}  // namespace nerofs::log
