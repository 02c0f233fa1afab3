// The way into the request loop for clients that aren't the kernel: accept, negotiate, serve.
#pragma once

#include <string>

#include "base/result.h"
#include "base/unique_fd.h"
#include "os/channel.h"

namespace nerofs::serve {

struct export_description {
    std::uint64_t size = 0;
    std::uint32_t block_size = 4096;
    std::string name;
};

// Negotiates on a fresh connection until the client is ready to send requests; not one byte behind that is consumed.
// Blocks, at most until the deadline. Kind cancelled: the client left, without error; else why it was turned away.
status negotiate(fd_ref socket, const export_description& exported, os::deadline until);

}  // namespace nerofs::serve
