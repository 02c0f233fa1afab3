// The seam between the parsers of this folder and whoever has the bytes: a file, a cache, a test's vector.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/result.h"

namespace nerofs::erofs {

class byte_reader {
  public:
    byte_reader() = default;
    byte_reader(const byte_reader&) = delete;
    byte_reader& operator=(const byte_reader&) = delete;
    virtual ~byte_reader() = default;

    // Fills `into` with the bytes from `offset` on, all of them or none that may be used. Errors are the
    // implementation's; an offset or length that reaches beyond the end is one of kind corrupt (the parsers only ask
    // for what the image says it has). May block as its implementation says.
    virtual status read_exact(std::uint64_t offset, std::span<std::byte> into) = 0;
};

}  // namespace nerofs::erofs
