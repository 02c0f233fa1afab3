// What is mounted and attached here: records and their keepers, and the EROFS mounts that need neither.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "ctl/messages.h"
#include "mount/record.h"
#include "os/channel.h"
#include "os/mounts.h"

namespace nerofs::mount {

enum class caretaker : std::uint8_t { keeper, server_only, nobody, kernel };

struct inventory_entry {
    caretaker kept_by = caretaker::nobody;
    ctl::mount_status status;  // what is known; of a mount without a keeper only what the record or the kernel says
    std::vector<std::string> mount_points;  // in this mount namespace
};

// Whether a person who typed `target` meant this one: a mount point, a device or an id.
bool is_meant(const inventory_entry& entry, const std::string& target);

// Everything of ours in `directory` and every EROFS mount of this mount namespace. Devices that don't answer are told
// as such, never waited for longer than a second each.
std::vector<inventory_entry> take_inventory(const run_directory& directory);

// Where the keeper of the device listens, if it has one. Kind not_found for a device that isn't ours.
result<std::string> control_path_of(const run_directory& directory, int nbd_index);
// A channel to the keeper that listens there; kind not_found if none does.
result<os::channel> connect_keeper(const std::string& control_path);

// The path of the record that a device was attached with, by its backend identifier or by our records. Kind not_found.
result<std::string> record_of_device(const run_directory& directory, int nbd_index);

// The record of an image that was mounted there by FUSE; kind not_found if there is none.
result<record> fuse_record_at(const run_directory& directory, const std::string& mount_point);

// The nbd device behind a mount, if it is one.
std::optional<int> nbd_index_of_mount(const os::mount_entry& mount);

}  // namespace nerofs::mount
