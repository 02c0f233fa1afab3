// A cache that nobody shares and that ends with its last descriptor: for cache=none, and for when the cache directory
// is full or can't be used.
#pragma once

#include <string>

#include "cache/store.h"

namespace nerofs::cache {

// An unlinked file in `directory`, or memory when that is empty; its maps are memory. The key's name means nothing.
// is_out_of_space() when there is no room. The result's pin and durable map are none, and checkpoints go nowhere.
result<held_blob> open_private(const blob_key& key, const std::string& directory);

// A file of nobody's, as open_private() makes them.
result<unique_fd> new_private_file(const std::string& directory);
// One that has become a whole blob.
result<held_blob> adopt_private(const blob_key& key, fd_ref file);

}  // namespace nerofs::cache
