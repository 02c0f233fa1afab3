// Mounting an image that this machine has as a file, without a server: by the best way the kernel has.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/result.h"
#include "mount/front.h"

namespace nerofs::mount {

struct mount_request {
    std::string target;
    unsigned long flags = 0;  // MS_*
    std::string data;         // for the file system
};

// mount(2) of an EROFS file system. The error says what the kernel logged about it, and the way the image's own needs
// explain it (`needs`: "Linux 6.4 or later (blocks smaller than 4096 bytes)", or empty).
status mount_erofs(const std::string& source, const mount_request& request, const std::string& needs);

// File-backed where the kernel can (Linux 6.12), else by a loop device that frees itself (autoclear). A block device is
// mounted as it is. `force_loop`: the loop device in any case. Returns how, in words for people.
result<std::string> mount_local(const opened_source& source, const mount_request& request, bool force_loop,
                                const std::string& needs);

// Whether this kernel's EROFS takes images of layers: 512-byte blocks, and data on devices that nobody names (Linux
// 6.4). It is asked, by an empty image on a loop device, as versions don't tell. Nothing where it can't be asked. Needs
// root; blocks for as long as a mount.
std::optional<bool> takes_layers();

}  // namespace nerofs::mount
