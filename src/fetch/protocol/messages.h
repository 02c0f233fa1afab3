// What the keeper and the fetcher say to each other.
//
// A local image: `check` with its descriptor; the answer is `info` or `failed`, and the fetcher ends.
// A remote one: `open`, answered with `opened` or `failed`; then for each part of it `cache` with the descriptors of
// its blob. After the last one comes `info` or `failed`; from then on it fetches, until the keeper and all servers have
// closed their channels.
// Before an image of layers is `opened` the fetcher tells its `layers`. The keeper sends for each of them
// `layer_files`, and `metadata_file`; the fetcher says `indexed` for each layer whose files it has filled, and
// `progress` meanwhile. When their indexes are to be pushed, `pushed` tells that they were.
#pragma once

#include <array>

#include "base/result.h"
#include "fetch/protocol/image_info.h"
#include "fetch/protocol/remote_source.h"
#include "os/channel.h"

namespace nerofs::fetch {

enum class message : std::uint8_t {
    // keeper to fetcher
    check = 1,      // {offset, has_extra_devices} and the image
    open,           // open_request
    cache,          // cache_request and descriptors
    layer_files,    // {number} and descriptors
    metadata_file,  // {most_content_bytes} and an empty file for the part of kind metadata
    server,         // a channel to a server (serve/misses.h)
    statistics,
    fill,  // fetch all of it, in the background
    // fetcher to keeper
    info = 64,          // image_info
    failed,             // an error
    opened,             // remote_identity
    statistics_answer,  // fetch_statistics
    no_room,            // the cache's file system is full: something has to be evicted
    layers,             // stored_layers
    indexed,            // indexed_layer
    progress,           // what is waited for, in words
    pushed,             // the digest of the artifact with the layers' indexes
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

// The files that the source names, readable; or none.
struct given_files {
    unique_fd tarindex;
    unique_fd zinfo;
};

// Where the index of a layer is from. Only one of the whole layer comes with the layer's content.
enum class index_origin : std::uint8_t {
    whole_layer,  // which was read on this machine
    toc,          // the layer's own table of contents
    pushed,       // others made it, and put it beside the image
};

// A layer as the source has it.
struct stored_layer {
    std::string digest;
    std::uint64_t size = 0;
    // The names by which such an index is kept, by origin, the best first; empty: such aren't wanted.
    std::array<std::string, 3> index_names{};

    const std::string& index_name(index_origin from) const { return index_names[static_cast<std::size_t>(from)]; }
    std::string& index_name(index_origin from) { return index_names[static_cast<std::size_t>(from)]; }
};

// What a fetcher works with on a layer.
struct layer_files {
    unique_fd content;  // empty, writable: the decoded layer, if it has to be read as a whole
    unique_fd fresh;    // empty, writable: its index, if none is kept
    unique_fd index;    // readable: the index that is kept of it; or none
    index_origin from{};
};

// A layer whose index is complete, and its content if it was read as a whole.
struct indexed_layer {
    std::uint32_t number = 0;
    index_origin from{};
    std::string digest;  // of its content
    std::uint64_t size = 0;
};

// A part of the device. With the descriptors of a cache::writer_files (the durable map may be none), of a touch map,
// and for a layer's content of its index, if there is one: layer/layer_index.h's, or the zinfo that was given.
struct cache_request {
    std::uint32_t part = 0;
    std::uint64_t fs_offset = 0;  // of the image in the blob
    bool has_extra_devices = false;
    bool check = true;  // false: it was checked before; no answer
};
struct cache_descriptors {
    unique_fd data;
    unique_fd map;
    unique_fd durable;
    unique_fd touched;
    unique_fd index;
};

status send_check(const os::channel& to, const check_request& request, fd_ref image);
status send_open(const os::channel& to, const open_request& request, const given_files& files = {});
status send_cache(const os::channel& to, const cache_request& request, const cache_descriptors& fds);
status send_layer_files(const os::channel& to, std::uint32_t number, const layer_files& files);
status send_metadata_file(const os::channel& to, fd_ref file, std::uint64_t most_content_bytes);
status send_server(const os::channel& to, fd_ref channel);
status send_simple(const os::channel& to, message type);
status send_info(const os::channel& to, const image_info& info);
status send_error(const os::channel& to, const error& e);
status send_opened(const os::channel& to, const remote_identity& identity);
status send_layers(const os::channel& to, const std::vector<stored_layer>& layers);
status send_indexed(const os::channel& to, const indexed_layer& layer);
status send_pushed(const os::channel& to, std::string_view digest);
status send_progress(const os::channel& to, std::string_view what);
status send_statistics(const os::channel& to, const fetch_statistics& s);

message type_of(const os::packet& packet);
result<check_request> decode_check(const os::packet& packet);
// Takes the descriptors out of the packet.
result<open_request> decode_open(os::packet& packet, given_files& files);
// Takes the descriptors out of the packet.
result<cache_request> decode_cache(os::packet& packet, cache_descriptors& fds);
// Take the descriptors out of the packet.
result<layer_files> decode_layer_files(os::packet& packet, std::uint32_t number);
result<unique_fd> decode_metadata_file(os::packet& packet, std::uint64_t& most_content_bytes);
result<fetch_statistics> decode_statistics(const os::packet& packet);
result<std::vector<stored_layer>> decode_layers(const os::packet& packet);
result<indexed_layer> decode_indexed(const os::packet& packet);
// Of `progress` and `pushed`.
std::string decode_text(const os::packet& packet);
// `opened`, or the error of `failed`.
result<remote_identity> decode_opened(const os::packet& packet);

// The answer, or the error that the fetcher found, or why neither came.
result<image_info> receive_info(const os::channel& from, os::deadline until);

// "Linux 6.4 or later (blocks smaller than 4096 bytes)": what the image needs of the kernel, or empty.
std::string needs_of(const image_info& info);

}  // namespace nerofs::fetch
