// What the keeper and the server say to each other (os/channel packets, base/wire encoding). Both are ours and of one
// build, but each still checks what it reads: the other may be dying.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"
#include "os/channel.h"
#include "serve/connection.h"

namespace nerofs::serve {

enum class message : std::uint8_t {
    // keeper to server
    setup = 1,           // server_setup; the first message
    more_blobs = 6,      // follows a setup whose blobs don't fit one packet, until all have come
    replace_socket = 2,  // {index} and a socket for an ended connection, whose journal the keeper has reset
    ping = 3,
    set_fetcher = 5,  // a channel to the fetcher, in place of a dead one
    adopt = 4,        // a new keeper, on the control socket of a server without one: answered with `setup`
    // server to keeper
    ready = 16,
    connection_ended = 17,  // {index, connection_end}
    pong = 18,
    // whoever accepts on a mount's control socket says first who it is: {role}
    hello = 32,
};

enum class role : std::uint8_t { keeper = 1, server = 2 };

inline constexpr std::uint32_t max_connections = 64;

// All that a server needs to serve, descriptors included. Also what a server without a keeper hands to its new one.
struct server_setup {
    struct piece {  // a segment of the image map whose file is files[file], or the data of blobs[file]
        std::uint64_t device_offset = 0;
        std::uint64_t length = 0;
        std::uint32_t file = 0;
        std::uint64_t file_offset = 0;
        bool cached = false;
    };
    // A blob that is fetched as it is needed. Its index is its id at the fetcher.
    struct blob {
        std::string key;  // name in the cache
        std::uint64_t size = 0;
        unique_fd data;     // readable
        unique_fd map;      // readable: what is there
        unique_fd touched;  // writable: what was read
        // Kept open only, so that they outlive the keeper; none for a private store.
        unique_fd pin;
        unique_fd durable;
    };
    std::uint32_t connections = 0;  // the journal's; with listeners: how many clients at once
    std::uint32_t block_size = 512;
    std::string export_name;  // for clients that ask for one by name
    std::vector<piece> pieces;

    unique_fd journal;                      // sealed memory of journal_bytes(connections), or none with listeners
    unique_fd control;                      // the mount's listening control socket, used once the keeper is gone
    std::chrono::milliseconds patience{0};  // how long a read waits for bytes
    unique_fd fetcher;                      // a channel to it
    std::vector<blob> blobs;
    std::vector<unique_fd> files;      // readable
    std::vector<unique_fd> sockets;    // one for each connection: already speaking to the kernel
    std::vector<unique_fd> fuse;       // or descriptors of one /dev/fuse (os/fuse_mount.h), in the same order always
    std::vector<unique_fd> listeners;  // or sockets that accept NBD clients, which begin with the handshake
    std::vector<unique_fd> kept;       // only kept open, so that they outlive the keeper

    // `views`: of the blobs, in order; they must outlive the map.
    result<image_map> make_map(std::span<const blob_view> views) const;
};

status send_setup(const os::channel& to, const server_setup& setup);
// `next` brings the packets that follow `first`, where there are any.
result<server_setup> decode_setup(os::packet first, const std::function<result<os::packet>()>& next = {});

status send_simple(const os::channel& to, message type);
status send_hello(const os::channel& to, role who);
status send_connection_ended(const os::channel& to, std::uint32_t index, connection_end how);
status send_fetcher(const os::channel& to, fd_ref channel);
status send_replacement(const os::channel& to, std::uint32_t index, fd_ref socket);

}  // namespace nerofs::serve
