// The numbers and encodings of tar headers; pure.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "erofs/inode.h"

namespace nerofs::layer {

// A numeric field: octal digits between blanks and NULs (none: 0), or base-256 when the first byte's high bit is set
// (GNU; two's complement). Nothing when it is neither or doesn't fit.
std::optional<std::int64_t> tar_number(std::string_view field);

// Decimal digits only, and at least one.
std::optional<std::uint64_t> decimal(std::string_view digits);

// pax's times: "1350244992.023960108", "-1.5"; digits beyond nanoseconds are cut, downwards.
std::optional<erofs::timestamp> pax_time(std::string_view text);

std::optional<std::string> base64(std::string_view text);       // padding may be missing
std::optional<std::string> url_decoded(std::string_view text);  // "%41" is "A"

// Whether the 512 bytes' checksum field is their sum, of bytes taken as unsigned or (old Sun tars) signed.
bool checksum_right(std::span<const std::byte, 512> header);

}  // namespace nerofs::layer
