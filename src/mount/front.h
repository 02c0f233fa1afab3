// What a command does to get an image attached: starts a keeper and talks to it until the mount is made or undone.
#pragma once

#include <string>

#include "base/result.h"
#include "base/unique_fd.h"
#include "ctl/messages.h"
#include "os/channel.h"
#include "os/process.h"

namespace nerofs::mount {

// The one place where a source is opened: for reading, in the caller's directory, namespace and with its rights.
struct opened_source {
    unique_fd file;
    std::string path;  // absolute, symbolic links resolved
    bool block_device = false;
    bool by_fuse = false;  // `path` is of the image that it holds, and mount(2) takes the descriptor
};
// Never waits for a writer of a fifo. Kind usage if it is neither a regular file nor a block device.
result<opened_source> open_source(const std::string& path);

// A device that a keeper has attached for us and that isn't mounted yet. If this object or process goes before
// mounted(), the keeper undoes the attach.
class attachment {
  public:
    // Blocks until the device is ready or the attach has failed, with the keeper's error. No image for one that is
    // fetched.
    static result<attachment> start(const ctl::attach_request& request, fd_ref image = {});

    const ctl::attach_answer& device() const { return answer_; }

    // The transport is FUSE: there is no device but a file to be mounted, which open_file() opens. Blocks until the
    // server has answered; when that takes too long, everything is ended, and the error is of kind timeout.
    bool by_file() const { return static_cast<bool>(fuse_mount_); }
    result<unique_fd> open_file();

    // The device is mounted there: from now on it lives as long as the mount. An error, when the keeper has died, says
    // so; the caller unmounts.
    status mounted(const std::string& mount_point);
    // The mount failed: returns when the device, its processes and its record are gone. An error says that the keeper
    // died before, which may be why the mount failed, and that it has removed nothing.
    status undo();

  private:
    attachment(os::process process, os::channel keeper, ctl::attach_answer answer, unique_fd fuse_mount)
        : process_(std::move(process)),
          keeper_(std::move(keeper)),
          answer_(std::move(answer)),
          fuse_mount_(std::move(fuse_mount)) {}

    os::process process_;
    os::channel keeper_;
    ctl::attach_answer answer_;
    unique_fd fuse_mount_;
};

// Starts a keeper that goes on with a device of an earlier one.
result<ctl::attach_answer> reattach(const ctl::reattach_request& request);

}  // namespace nerofs::mount
