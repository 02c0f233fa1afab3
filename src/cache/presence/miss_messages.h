// What a server and a fetcher say to each other about bytes that aren't there: one channel, packets of base/wire.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/result.h"
#include "os/channel.h"

namespace nerofs::cache {

enum class miss_message : std::uint8_t {
    wanted = 1,  // server to fetcher: {count, then for each {id, blob, offset, length}}: somebody waits for these bytes
    failed = 2,  // fetcher to server: {id}: they won't come
};

struct missing_piece {
    std::uint64_t id = 0;  // of the read; several pieces may have the same
    std::uint32_t blob = 0;
    std::uint64_t offset = 0;
    std::uint64_t length = 0;
};
inline constexpr std::size_t most_missing_in_packet = 1000;

status send_missing(const os::channel& to, std::span<const missing_piece> pieces);
result<std::vector<missing_piece>> decode_missing(const os::packet& packet);
status send_read_failed(const os::channel& to, std::uint64_t id);
result<std::uint64_t> decode_read_failed(const os::packet& packet);

}  // namespace nerofs::cache
