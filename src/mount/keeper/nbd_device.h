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
#include "mount/keeper/attached_device.h"

namespace nerofs::mount {

struct nbd_parameters {
    std::uint64_t size_bytes = 0;
    std::uint32_t block_size = 512;
    std::chrono::seconds timeout{30};
    std::chrono::seconds dead_timeout{300};
    std::string backend;  // the backend identifier: the path of the record
};

class nbd_device : public attached_device {
  public:
    int index() const override { return index_; }
    std::string name() const override { return "nbd" + std::to_string(index_); }
    std::string path() const override { return "/dev/" + name(); }

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
result<std::unique_ptr<attached_device>> connect_by_netlink(const nbd_parameters& parameters,
                                                            const std::vector<unique_fd>& kernel_ends);
// A device that is connected already, by this backend identifier.
result<std::unique_ptr<attached_device>> adopt_by_netlink(int index, const std::string& backend);
// DISCONNECT of any device, without opening it.
status disconnect_by_netlink(int index);

// SET_SOCK and DO_IT on the first free device.
result<std::unique_ptr<attached_device>> connect_by_ioctl(const nbd_parameters& parameters,
                                                          const std::vector<unique_fd>& kernel_ends);

// Queue settings that suit a server on the same machine: large requests, no scheduler, and a read-ahead that is worth a
// round trip where the bytes come from afar. Best effort.
void tune_queue(int index, bool remote);

}  // namespace nerofs::mount
