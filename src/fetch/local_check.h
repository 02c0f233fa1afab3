// Checks an image that is a local file or block device before any device or mount is touched for it.
#pragma once

#include <cstdint>

#include "base/result.h"
#include "base/unique_fd.h"
#include "erofs/byte_reader.h"
#include "fetch/protocol/image_info.h"

namespace nerofs::fetch {

// Reads the superblock of the image that starts at `offset` of the file or block device, and the device table, at most
// some 9 MiB in all; nothing else is read. `has_extra_devices`: the mount names devices besides.
// Errors: corrupt (not an image, damaged, truncated), unsupported (it takes a feature that nobody here knows), usage
// (not a file or block device, an offset beyond its end, devices missing), or those of read(2). Their text doesn't name
// the file: the caller knows how the user called it. Blocks as reading the file does; any thread.
result<image_info> check_local_image(fd_ref image, std::uint64_t offset, bool has_extra_devices);

// The same of bytes that something else reads: `available` of them from byte 0 of `image`.
result<image_info> check_image(erofs::byte_reader& image, std::uint64_t available, bool has_extra_devices);

}  // namespace nerofs::fetch
