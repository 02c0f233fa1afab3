// What the keeper and the fetcher say to each other.
//
// A local image: `check` with its descriptor; the answer is `info` or `failed`, and the fetcher ends.
// A remote one: `open`, answered with `opened` or `failed`; then `cache` with the blob's descriptors, answered with
// `info` or `failed`; from then on it fetches, until the keeper and all servers have closed their channels.
#pragma once

#include "base/result.h"
#include "fetch/protocol/image_info.h"
#include "fetch/protocol/remote_source.h"
#include "os/channel.h"

namespace nerofs::fetch {

enum class message : std::uint8_t {
    // keeper to fetcher
    check = 1,  // {offset, has_extra_devices} and the image
    open,       // open_request
    cache,      // cache_request and descriptors
    server,     // a channel to a server (serve/misses.h)
    statistics,
    fill,  // fetch all of it, in the background
    // fetcher to keeper
    info = 64,          // image_info
    failed,             // an error
    opened,             // remote_identity
    statistics_answer,  // fetch_statistics
    no_room,            // the cache's file system is full: something has to be evicted
};

struct check_request {
    std::uint64_t offset = 0;
    bool has_extra_devices = false;
};

struct open_request {
    remote_source source;
    remote_secrets secrets;
    // Known from an earlier fetcher: nothing is asked for, the source may even be away.
    std::optional<remote_identity> known;
};

// With the descriptors of a cache::writer_files (the durable map may be none) and of a touch map.
struct cache_request {
    std::uint64_t size = 0;
    std::string digest;           // checked when all is there; or empty
    std::uint64_t fs_offset = 0;  // of the image in the blob
    bool has_extra_devices = false;
    bool check = true;  // false: it was checked before; no answer
};
struct cache_descriptors {
    unique_fd data;
    unique_fd map;
    unique_fd durable;
    unique_fd touched;
};

status send_check(const os::channel& to, const check_request& request, fd_ref image);
status send_open(const os::channel& to, const open_request& request);
status send_cache(const os::channel& to, const cache_request& request, const cache_descriptors& fds);
status send_server(const os::channel& to, fd_ref channel);
status send_simple(const os::channel& to, message type);
status send_info(const os::channel& to, const image_info& info);
status send_error(const os::channel& to, const error& e);
status send_opened(const os::channel& to, const remote_identity& identity);
status send_statistics(const os::channel& to, const fetch_statistics& s);

message type_of(const os::packet& packet);
result<check_request> decode_check(const os::packet& packet);
result<open_request> decode_open(const os::packet& packet);
// Takes the descriptors out of the packet.
result<cache_request> decode_cache(os::packet& packet, cache_descriptors& fds);
result<fetch_statistics> decode_statistics(const os::packet& packet);

// The answer, or the error the fetcher found, or why neither came.
result<image_info> receive_info(const os::channel& from, os::deadline until);
result<remote_identity> receive_opened(const os::channel& from, os::deadline until);

// "Linux 6.4 or later (blocks smaller than 4096 bytes)": what the image needs of the kernel, or empty.
std::string needs_of(const image_info& info);

}  // namespace nerofs::fetch
