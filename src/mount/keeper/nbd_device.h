// One kernel NBD device, connected to sockets of ours: what the keeper does to it.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"
#include "ctl/messages.h"

namespace nerofs::mount {

struct nbd_parameters {
    std::uint64_t size_bytes = 0;
    std::uint32_t block_size = 512;
    std::chrono::seconds timeout{30};
    std::chrono::seconds dead_timeout{300};
    std::string backend;  // the backend identifier: the path of the record
};

// A connected device. Destroying it leaves it connected; disconnect() ends it.
class nbd_device {
  public:
    virtual ~nbd_device() = default;

    int index() const { return index_; }
    std::string name() const { return "nbd" + std::to_string(index_); }
    std::string path() const { return "/dev/" + name(); }
    virtual std::string transport() const = 0;
    // Whether it is still connected, to us.
    virtual bool connected() const = 0;

    // From now on the device ends when its last user closes it. Kind unsupported: this way of attaching has no such
    // thing.
    virtual status enable_autoclear() = 0;
    // Gives the device a new socket in place of one that is dead.
    virtual status replace_socket(fd_ref kernel_end) = 0;
    // Ends the connection; users of the device get EIO from now on.
    virtual status disconnect() = 0;

    // Readable when the device has ended by itself (ioctl), or nothing (netlink: the goodbye comes over the sockets).
    virtual fd_ref ended_event() const { return {}; }
    // The kernel's own handle of the device that should outlive the keeper, or nothing.
    virtual fd_ref kept_fd() const { return {}; }

  protected:
    explicit nbd_device(int index) : index_(index) {}
    void set_index(int index) { index_ = index; }

  private:
    int index_;
};

// Makes the nbd module available: loads it if it isn't. The error says what was tried.
status ensure_nbd_module();

// CONNECT: the kernel chooses a device. Kinds unsupported, not_found and permission mean that netlink itself can't be
// used here (nothing was connected, ioctl may be tried); any other is the kernel's refusal of this very request.
result<std::unique_ptr<nbd_device>> connect_by_netlink(const nbd_parameters& parameters,
                                                       const std::vector<unique_fd>& kernel_ends);
// A device that is connected already, by this backend identifier.
result<std::unique_ptr<nbd_device>> adopt_by_netlink(int index, const std::string& backend);
// DISCONNECT of any device, without opening it.
status disconnect_by_netlink(int index);

// SET_SOCK and DO_IT on the first free device.
result<std::unique_ptr<nbd_device>> connect_by_ioctl(const nbd_parameters& parameters,
                                                     const std::vector<unique_fd>& kernel_ends);

// Queue settings that suit a server on the same machine: large requests, no scheduler. Best effort.
void tune_queue(int index);

}  // namespace nerofs::mount
