// What the kernel has of a mount: a block device or a file system of ours, and what a keeper does to it.
#pragma once

#include <string>

#include "base/result.h"
#include "base/unique_fd.h"

namespace nerofs::mount {

// Destroying it leaves it attached; disconnect() ends it.
class attached_device {
  public:
    virtual ~attached_device() = default;

    virtual int index() const { return -1; }  // of an nbd device
    virtual std::string name() const = 0;     // for messages
    virtual std::string path() const = 0;     // of a device node, or empty
    virtual std::string transport() const = 0;
    // Whether it is still attached, to us.
    virtual bool connected() const = 0;

    // From now on it ends when its last user closes it. Kind unsupported: this way of attaching has no such thing.
    virtual status enable_autoclear() = 0;
    // Gives it a new socket in place of one that is dead. Kind unsupported where there are none.
    virtual status replace_socket(fd_ref kernel_end) = 0;
    // Ends it; its users get errors from now on.
    virtual status disconnect() = 0;

    // Readable when it has ended by itself (ioctl), or nothing: then the server is told, and says so.
    virtual fd_ref ended_event() const { return {}; }
    // The kernel's own handle of it that should outlive the keeper, or nothing.
    virtual fd_ref kept_fd() const { return {}; }
};

}  // namespace nerofs::mount
