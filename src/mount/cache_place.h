// Where the cache is and how large it may be, where nobody said it.
#pragma once

#include "cache/store.h"
#include "ctl/messages.h"

namespace nerofs::mount {

// root: /var/cache/nerofs and /run/nerofs/cache. Others: $XDG_CACHE_HOME/nerofs, else ~/.cache/nerofs, and
// $XDG_RUNTIME_DIR/nerofs if that is the caller's, else `run` in the cache directory. Without a size a quarter of the
// file system, which others use, too.
cache::store_options store_options_for(const ctl::cache_choice& choice);

}  // namespace nerofs::mount
