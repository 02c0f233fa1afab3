// The FUSE file system that holds an image as its only file, where there is no nbd device.
#pragma once

#include <memory>

#include "mount/keeper/attached_device.h"
#include "os/fuse_mount.h"

namespace nerofs::mount {

// A fresh one, with so many descriptors or fewer; loads the module if need be. Errors: unsupported, permission.
result<os::fuse_superblock> make_image_file_system(unsigned descriptors);

// Its descriptors are the connections of the keeper, and it ends when all of them, everywhere, are closed.
std::unique_ptr<attached_device> make_fuse_device();

}  // namespace nerofs::mount
