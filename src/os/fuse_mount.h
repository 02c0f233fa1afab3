// FUSE file systems that lie in no directory: only who has a descriptor can see or enter them.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"
#include "os/channel.h"

namespace nerofs::os {

struct fuse_superblock {
    // /dev/fuse, opened several times: each can be read by a thread of its own, which answers there what it read there.
    // When the last descriptor of all is closed, in whatever process, the file system is dead, mounted or not. When
    // nobody uses the file system any more, reading fails with ENODEV.
    std::vector<unique_fd> devices;
    // A mount of it. It and each file opened through it are users.
    unique_fd mount;
};

// A read-only one, for root, with so many descriptors (fewer, at least one, where the kernel makes no more). Doesn't
// wait for whoever will serve it. Needs CAP_SYS_ADMIN. Kind unsupported: this kernel has no FUSE, or its module isn't
// loaded; permission: it may not be used here (containers). `source` is what mount tables show.
result<fuse_superblock> make_fuse_superblock(const std::string& source, unsigned devices);

// Opens a file of a FUSE file system for reading. Blocks until its server has answered (the first time: also said which
// version it speaks), so who serves, or starts servers again, mustn't call this. At `until` it calls `give_up`, which
// has to close every descriptor of the device, in all processes: nothing else ends an open that isn't answered. The
// error is of kind timeout then.
result<unique_fd> open_served(fd_ref directory, const std::string& name, deadline until,
                              const std::function<void()>& give_up);

}  // namespace nerofs::os
