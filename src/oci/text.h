// Text from registries, files and people, made fit for errors.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/ascii.h"

namespace nerofs::oci {

// 'text' in single quotes, on one line and of bounded length: control bytes and what isn't ASCII become \xNN, long
// texts are cut with "...". For anything that came from outside; never for a secret.
std::string quoted(std::string_view text);
// The same without the quotes, for lists of names.
std::string shown(std::string_view text);

// 1234567 as "1.2 MB": powers of ten, one digit behind the point, bytes up to 999 whole.
std::string size_text(std::uint64_t bytes);

// Printable ASCII but the space.
constexpr bool is_visible(char c) {
    return c > ' ' && c < 0x7f;
}

std::string lower_case(std::string_view text);
std::string_view trimmed(std::string_view text);  // without blanks, tabs and line ends on either side

}  // namespace nerofs::oci
