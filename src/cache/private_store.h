// A cache that nobody shares and that ends with its last descriptor: for cache=none, and for when the cache directory
// is full or can't be used.
#pragma once

#include <string>

#include "cache/store.h"

namespace nerofs::cache {

// An unlinked file in `directory`, or memory when that is empty; its maps are memory. The key's name means nothing.
// is_out_of_space() when there is no room. The result's pin and durable map are none, and checkpoints go nowhere.
result<held_blob> open_private(const blob_key& key, const std::string& directory);

}  // namespace nerofs::cache
