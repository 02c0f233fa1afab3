// Checks an image that is a local file or block device before any device or mount is touched for it.
#pragma once

#include <cstdint>
#include <string>

#include "base/result.h"
#include "base/unique_fd.h"

namespace nerofs::fetch {

// What a block device that serves the image has to look like, and what to say about the image.
struct image_info {
    std::uint64_t size_bytes = 0;    // what is there from the offset on, a multiple of block_size
    std::uint32_t block_size = 0;    // the device's: the image's own, 4096 at most
    std::uint64_t needed_bytes = 0;  // how far the image reaches; at most size_bytes

    std::uint32_t image_block_size = 0;  // 512 to 65536; above the page size the kernel can't mount it
    std::string uuid;                    // "c1b9d5a2-f162-11cf-9ece-0020afc76f16"
    std::string volume_name;             // as the image has it: may hold any byte, at most 16 of them
    std::string features;                // "sb_chksum, mtime, chunked_file", or empty
    std::string kernel_series;           // "6.1": the first that has all of them
    std::string kernel_feature;          // "fragments": the newest of them
    std::uint64_t build_time = 0;        // seconds since 1970; 0 when the image says nothing or nonsense
    bool flat_devices = false;           // it points into data that lies behind it (a tar index)
};

// Reads the superblock of the image that starts at `offset` of the file or block device, and the device table, at most
// some 9 MiB in all; nothing else is read. `has_extra_devices`: the mount names devices besides.
// Errors: corrupt (not an image, damaged, truncated), unsupported (it takes a feature that nobody here knows), usage
// (not a file or block device, an offset beyond its end, devices missing), or those of read(2). Their text doesn't name
// the file: the caller knows how the user called it. Blocks as reading the file does; any thread.
result<image_info> check_local_image(fd_ref image, std::uint64_t offset, bool has_extra_devices);

}  // namespace nerofs::fetch
