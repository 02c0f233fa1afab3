// The way back: unmount what is mounted, disconnect what is connected.
#pragma once

#include <string>

#include "base/result.h"
#include "mount/record.h"

namespace nerofs::mount {

// Unmounts the EROFS file system at a mount point, or the newest mount of a block device, with umount2(2)'s flags. When
// that was its last use, returns after the device, its processes and its record are gone; when it is mounted elsewhere,
// too (a bind mount, another namespace), it stays attached. Never touches the file system to find out what it is, so a
// mount that hangs can be unmounted.
status unmount(const run_directory& directory, const std::string& target, int flags);

}  // namespace nerofs::mount
