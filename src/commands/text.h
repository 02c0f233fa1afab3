// How the commands print sizes and names.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace nerofs::commands {

// "9216 KiB", "110 MiB".
std::string size_text(std::uint64_t bytes);
// Names come from users and from disk; control characters would garble a terminal.
std::string printable(std::string_view text);

}  // namespace nerofs::commands
