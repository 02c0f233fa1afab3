// The cage of a fetcher: what eats bytes that nobody vouches for may talk to the network and to the descriptors it was
// given, and read what names and certificates need.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"

namespace nerofs::fetch {

// For all threads of this process, for good. `readable`: files beside the system's own; empty names are skipped. Where
// the kernel lacks a part of it the rest holds, and the log says so.
status enter_sandbox(const std::vector<std::string>& readable);

}  // namespace nerofs::fetch
