// What a check of an image finds out.
#pragma once

#include <cstdint>
#include <string>

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

}  // namespace nerofs::fetch
