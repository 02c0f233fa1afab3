// The long life of a fetcher: one remote image, for as long as somebody reads it.
#pragma once

#include "base/result.h"
#include "fetch/protocol/messages.h"
#include "os/channel.h"

namespace nerofs::fetch {

// Opens the source, fills the cache it is given, serves the misses of servers. Returns when the keeper and all servers
// have gone, or when the source can't be opened (which the keeper has been told).
status run_remote_fetch(os::channel keeper, os::packet open);

}  // namespace nerofs::fetch
