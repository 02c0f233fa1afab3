// The messages between a front (a command of the user's) and a keeper.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

#include "base/result.h"
#include "base/wire.h"
#include "fetch/protocol/remote_source.h"
#include "os/channel.h"

namespace nerofs::ctl {

enum class message : std::uint8_t {
    // front to the keeper that it started
    attach = 64,   // attach_request and the image; answered with attach_answer
    reattach,      // reattach_request; answered with attach_answer
    mounted,       // {mount point} and the mount's root (O_PATH): the attach is for good
    mount_failed,  // undo the attach; answered with done
    // anybody to a keeper, on its control socket
    status,      // answered with mount_status
    fetch_all,   // fill the cache in the background; answered with done or an error
    disconnect,  // cut the device off whoever uses it; answered with done or an error
    settle,      // after an unmount: answered with settle_answer
    // answers
    progress,  // what an attach is waiting for, in words; any number of them before its answer
    attach_answer,
    status_answer,
    settle_answer,
    done,
    failed,  // an error
};

enum class attach_method : std::uint8_t { automatic, netlink, ioctl };

enum class transport_choice : std::uint8_t { automatic, nbd, fuse };

struct nbd_settings {
    attach_method method = attach_method::automatic;
    std::uint32_t connections = 0;  // 0: as many as there are CPUs, at most 8
    std::chrono::seconds timeout{30};
    std::chrono::seconds dead_timeout{300};
};

// Where what is fetched is kept.
struct cache_choice {
    bool none = false;        // in a private file that ends with the mount
    std::string directory;    // empty: the default
    std::uint64_t bytes = 0;  // what the cache may take; 0: the default
    friend bool operator==(const cache_choice&, const cache_choice&) = default;
};

struct attach_request {
    std::string id;               // of the record, chosen by the front: it can clean up after a keeper that died
    std::string source;           // as the user wrote it
    std::string path;             // absolute, symbolic links resolved
    std::string target;           // mount point, for people
    std::uint64_t fs_offset = 0;  // where the file system begins in the image
    bool extra_devices = false;   // mounted with device=
    transport_choice via = transport_choice::nbd;
    nbd_settings nbd;
    fetch::remote_source remote;  // of kind none: the image is a file, whose descriptor comes with the request
    fetch::remote_secrets secrets;
    cache_choice cache;
};

struct reattach_request {
    std::string record;             // path of the record
    std::int32_t index = -1;        // the device, where the record doesn't say (the peer's don't)
    fetch::remote_secrets secrets;  // found again, for a remote image
};

// With FUSE the packet carries a mount of the file system (os/fuse_mount.h), and there is no device.
struct attach_answer {
    std::string device;     // path
    std::string transport;  // "nbd (netlink)", "nbd (ioctl)", "fuse"
    std::string note;       // one line the user should read, or empty
    std::string needs;      // what the image needs of the kernel, for the case that the mount fails
};

struct mount_status {
    std::string id;
    std::string source;
    std::string target;
    std::string device;
    std::string transport;
    std::uint64_t size_bytes = 0;
    std::uint64_t block_size = 0;
    std::uint64_t connections = 0;
    std::uint64_t live_connections = 0;
    std::int64_t keeper_pid = 0;
    std::int64_t server_pid = 0;
    std::uint64_t server_restarts = 0;
    std::uint64_t requests = 0;
    std::uint64_t reply_bytes = 0;
    std::uint64_t errors = 0;
    std::uint64_t takeovers = 0;
    std::int64_t attached_at = 0;  // seconds since 1970
    bool remote = false;
    std::int64_t fetcher_pid = 0;
    std::uint64_t fetcher_restarts = 0;
    std::string resolved;  // the image in the registry, with its digest
    fetch::fetch_statistics fetched;
};

enum class settled : std::uint8_t { in_use, ending };

error decode_error(wire_reader& from);

os::packet encode(const attach_request& r);
os::packet encode(const reattach_request& r);
os::packet encode(const attach_answer& a);
os::packet encode(const mount_status& s);

// Each reads what is behind the message's first number. Kind corrupt if that isn't it.
result<attach_request> decode_attach(wire_reader& from);
result<reattach_request> decode_reattach(wire_reader& from);
result<attach_answer> decode_attach_answer(wire_reader& from);
result<mount_status> decode_status(wire_reader& from);

status send(const os::channel& to, const os::packet& packet);
status send_simple(const os::channel& to, message type);
status send_text(const os::channel& to, message type, const std::string& text, fd_ref fd = {});
status send_failed(const os::channel& to, const error& e);
status send_settled(const os::channel& to, settled how);

// Waits for an answer of that type; a `failed` answer is its error. `body` is set up behind the type, over `storage`.
result<os::packet> receive_answer(const os::channel& from, message type, os::deadline until);
wire_reader body_of(const os::packet& packet);

}  // namespace nerofs::ctl
