// What the keeper and the fetcher say to each other. The keeper sends {offset, extra_devices} with the image's
// descriptor; the answer is an image_info or an error.
#pragma once

#include "base/result.h"
#include "fetch/local_check.h"
#include "os/channel.h"

namespace nerofs::fetch {

struct check_request {
    std::uint64_t offset = 0;
    bool has_extra_devices = false;
};

status send_check(const os::channel& to, const check_request& request, fd_ref image);
result<check_request> decode_check(const os::packet& packet);
status send_info(const os::channel& to, const image_info& info);
status send_error(const os::channel& to, const error& e);
// The image_info, or the error the fetcher found, or why neither came.
result<image_info> receive_info(const os::channel& from, os::deadline until);

// "Linux 6.4 or later (blocks smaller than 4096 bytes)": what the image needs of the kernel, or empty.
std::string needs_of(const image_info& info);

}  // namespace nerofs::fetch
