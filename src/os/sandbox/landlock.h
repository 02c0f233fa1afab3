// Landlock: what a process may still open.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"

namespace nerofs::os {

// From now on this process opens nothing but files at or below these places, for reading. Places that aren't there are
// skipped. Descriptors that are open stay as they are. Needs no_new_privs; for this thread and those it starts: call it
// before the first. Kind unsupported where the kernel has no landlock or it is switched off.
status allow_reading_only(const std::vector<std::string>& places);

}  // namespace nerofs::os
