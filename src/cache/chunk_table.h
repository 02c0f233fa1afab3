// What the planner knows of a blob's chunks.
#pragma once

#include <cstdint>

#include "cache/presence/geometry.h"

namespace nerofs::cache {

// The chunks as the cache knows them; a blob_writer behind an adapter, or a test.
class chunk_table {
  public:
    virtual ~chunk_table() = default;
    virtual bool present(std::uint64_t chunk) const = 0;
    // Not there, and nobody is fetching it.
    virtual bool available(std::uint64_t chunk) const = 0;
    // Takes chunks from the front of the range as far as they are available; how many.
    virtual std::uint64_t claim(chunk_range range) = 0;
};

}  // namespace nerofs::cache
