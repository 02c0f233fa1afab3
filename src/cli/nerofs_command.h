// The command line of nerofs, the friendly front: a verb and what belongs to it. Pure, like the rest of this folder.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/result.h"
#include "cli/arguments.h"
#include "cli/mount_command.h"

namespace nerofs::cli {

// nerofs mount is a mount_command whose action is mount.
struct nerofs_umount {
    std::string target;  // a directory or a device
    bool lazy = false;
};
struct nerofs_list {
    bool json = false;
};
struct nerofs_status {
    std::string target;  // empty: everything
    bool json = false;
};
struct nerofs_reattach {
    std::string device;  // empty: all that need it
};
struct nerofs_disconnect {
    std::string device;
};

struct listen_address {
    std::string host;        // without the brackets of an IPv6 address
    std::uint16_t port = 0;  // 0: any free one
    friend bool operator==(const listen_address&, const listen_address&) = default;
};
// At least one of socket and listen is given.
struct nerofs_serve {
    std::string source;
    std::string socket;  // path of a unix socket, or empty
    std::optional<listen_address> listen;
    std::string name;                     // of the NBD export; empty: the default export
    std::optional<unsigned> connections;  // 1..64, how many clients' connections at once
    mount_options options;                // how a remote source is fetched
};

// Fills the cache: of a mount, or of an image that isn't mounted.
struct nerofs_fetch {
    std::string target;  // a mount point, a device, or a source as `nerofs mount` takes it
    mount_options options;
};

struct nerofs_cache {
    enum class action_kind : std::uint8_t { list, remove, collect };
    action_kind action = action_kind::list;
    std::vector<std::string> names;  // remove: of blobs, as `list` shows them, or "sha256:<hex>"
    mount_options options;           // cache.dir, cache.size
    bool json = false;
};

// What is in an image. `what` is SOURCE[:PATH], see split_source().
struct nerofs_ls {
    std::string what;
    bool long_lines = false;
    bool json = false;
    mount_options options;  // how a remote source is fetched; so below
};
struct nerofs_cat {
    std::string what;
    mount_options options;
};
struct nerofs_stat {
    std::string what;
    bool json = false;
    mount_options options;
};
struct nerofs_extract {
    std::string what;
    std::string directory;
    mount_options options;
};

// The EROFS index of a tar, as mkfs.erofs --tar=i makes it.
struct nerofs_index {
    std::string source;     // a file, "-": standard input, or what is fetched: a URL, a layer in a registry
    bool fetched = false;   // the latter
    std::string out;        // not empty
    std::string zinfo;      // empty: none
    mount_options options;  // of what is fetched
};

// The indexes of an image's layers, put beside it in its registry.
struct nerofs_index_push {
    std::string image;
    mount_options options;
};

struct nerofs_help {
    std::string topic;  // a command, or empty
};
struct nerofs_version {};

using nerofs_command =
    std::variant<mount_command, nerofs_umount, nerofs_list, nerofs_status, nerofs_reattach, nerofs_disconnect,
                 nerofs_serve, nerofs_fetch, nerofs_cache, nerofs_ls, nerofs_cat, nerofs_stat, nerofs_extract,
                 nerofs_index, nerofs_index_push, nerofs_help, nerofs_version>;

// `args` are those after the program's name. Errors: usage, one line; a misspelt command suggests the nearest.
result<nerofs_command> parse_nerofs_command(std::span<const std::string> args);

// The commands, in the order in which help lists them.
struct command_info {
    std::string_view name;
    std::string_view synopsis;  // behind "nerofs NAME "
    std::string_view summary;   // one line
    std::span<const flag_spec> flags;
    std::string_view details;   // paragraphs, or empty
    std::string_view examples;  // lines, each indented by two spaces
};
std::span<const command_info> nerofs_commands();

}  // namespace nerofs::cli
