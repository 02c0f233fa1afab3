// Kernel modules, loaded as the kernel itself would load them.
#pragma once

#include <string>

namespace nerofs::mount {

// How it went, in words ("'modprobe nbd' exited with status 1"). Waits 20 s at most.
std::string load_module(const std::string& name);

}  // namespace nerofs::mount
