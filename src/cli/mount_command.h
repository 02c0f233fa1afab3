// The command lines of mount.erofs and umount.erofs, both as a person types them and as mount(8) and umount(8) call
// their helpers. Pure: nothing is opened, printed or ended here.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "base/result.h"
#include "cli/arguments.h"
#include "cli/mount_options.h"

namespace nerofs::cli {

// -t erofs.SUBTYPE: the way between the kernel and the image.
enum class transport : std::uint8_t { automatic, local, nbd, ublk, fanotify, fuse };

enum class mount_action : std::uint8_t { mount, unmount, reattach, disconnect, help, version };

struct mount_command {
    mount_action action = mount_action::mount;
    std::string source;  // mount: as given
    std::string target;  // mount: the mount point; else the directory or device that is meant
    transport via = transport::automatic;
    mount_options options;
    std::string mount_namespace;  // -N: a path or a process id; empty: the caller's
    unsigned debug_level = 0;     // -d, 0..9
    bool fake = false;            // -f: everything but the mount
    bool no_mtab = false;         // -n: nothing is written to a mtab anyway
    bool sloppy = false;          // -s: see parse_mount_command
    bool verbose = false;         // -v
};

struct umount_command {
    enum class action_kind : std::uint8_t { unmount, help, version };
    action_kind action = action_kind::unmount;
    std::string target;  // a directory or a device
    transport via = transport::automatic;
    std::string mount_namespace;
    bool force = false;      // -f
    bool lazy = false;       // -l
    bool no_mtab = false;    // -n
    bool read_only = false;  // -r: if it can't be unmounted, remount it read-only; EROFS is so already
    bool verbose = false;    // -v
};

// `args` are those after the program's name. Errors: usage, one line without a program's name in front.
//
// -s asks to tolerate unknown options. What isn't known here goes to the kernel, which decides; but a misspelt option
// of nerofs is an error even so, since the mount would otherwise take its data from somewhere else than the user said.
result<mount_command> parse_mount_command(std::span<const std::string> args);
result<umount_command> parse_umount_command(std::span<const std::string> args);

// "erofs" or "erofs.nbd"; the error lists what is known.
result<transport> parse_type(std::string_view type);
// "nbd"; "" for automatic.
std::string_view to_string(transport via);

// The flags of the two programs, for help and man pages.
std::span<const flag_spec> mount_flags();
std::span<const flag_spec> umount_flags();

// What `nerofs mount` takes: the same meaning, without the other actions and mount(8)'s own flags.
std::span<const flag_spec> nerofs_mount_flags();
result<mount_command> parse_nerofs_mount(std::span<const std::string> args);

}  // namespace nerofs::cli
