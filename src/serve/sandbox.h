// What the server may ask of the kernel, and its memory.
#pragma once

#include "base/result.h"

namespace nerofs::serve {

// Locks this process in memory (a server whose pages wait for its own device can't serve it) and limits it to the
// system calls of serving: reading and sending on descriptors it has, threads, memory. Not undone.
status enter_sandbox();

}  // namespace nerofs::serve
