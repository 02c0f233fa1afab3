// What is stored so that a mount can be served again: one small file for each mount. docs/records.md describes the
// formats.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "ctl/messages.h"

namespace nerofs::mount {

// What tells an image from another one that has taken its path.
struct image_identity {
    std::uint64_t size_bytes = 0;
    std::int64_t mtime_ns = 0;
    std::uint64_t inode = 0;
    std::string uuid;  // of the file system
    friend bool operator==(const image_identity&, const image_identity&) = default;
};

struct record {
    std::string id;           // 16 hex digits
    std::string transport;    // "nbd (netlink)" or "nbd (ioctl)"
    std::int32_t index = -1;  // of the device; -1 before it is known
    std::string source;       // as the user wrote it
    std::string path;         // absolute; empty for one that is fetched
    std::string target;
    std::uint64_t fs_offset = 0;
    bool extra_devices = false;
    image_identity identity;  // empty uuid and zeros: unknown (a record of the peer's)
    // Of an image that is fetched; of kind none for a local one. Without secrets.
    fetch::remote_source remote;
    fetch::remote_identity remote_identity;
    ctl::cache_choice cache;
    std::uint64_t block_size = 0;
    std::uint32_t connections = 0;
    std::chrono::seconds timeout{0};
    std::chrono::seconds dead_timeout{0};
    std::int64_t attached_at = 0;
    // The device's backend identifier: the path of this record, or of the peer's (erofs-utils') that it came from.
    std::string backend;
    // From a record of the peer's: base64 of "user:password". Never written.
    std::string peer_login;
};

// One "key=value" line each, values percent-escaped; the first line names the version. No secrets.
std::string encode_record(const record& r);
// Reads either our own format or the peer's one-line format (S3_OBJECT is kind unsupported).
// Kind corrupt for anything else. Hostile input is expected: at most 128 KiB, every field checked.
result<record> decode_record(std::string_view text);

// Where records, control sockets and the log lie. Root's alone.
class run_directory {
  public:
    run_directory() : run_directory(default_path) {}
    explicit run_directory(std::string path) : path_(std::move(path)) {}

    // Makes it (mode 0700) if it isn't there; refuses one that somebody else could write to.
    status prepare() const;

    const std::string& path() const { return path_; }
    std::string record_path(const std::string& id) const { return path_ + "/" + id + ".record"; }
    std::string control_path(const std::string& id) const { return path_ + "/" + id + ".sock"; }
    std::string log_path() const { return path_ + "/log"; }

    result<record> load(const std::string& path) const;
    status store(const record& r) const;
    void erase(const std::string& id) const;

    // The ids that have a record, in no order.
    std::vector<std::string> ids() const;
    // Removes records whose device is gone and that nobody serves: what a crash of everything leaves behind.
    void collect_garbage() const;

    static constexpr const char* default_path = "/run/nerofs";

  private:
    std::string path_;
};

// 16 random hex digits.
std::string new_id();
// The id under which a device with a record of the peer's is kept, always the same for the same record.
std::string id_of_peer_record(std::string_view path);

// What sysfs says about an nbd device, without opening it.
struct nbd_state {
    bool exists = false;
    bool connected = false;
    std::string backend;  // the backend identifier, where the device has one
};
nbd_state nbd_state_of(int index);
// 3 from "/dev/nbd3", "nbd3" or "/sys/block/nbd3"; through symbolic links. Kind usage if it is no nbd device.
result<int> nbd_index_of(const std::string& device);
// All nbd devices of this system, by number.
std::vector<int> nbd_indexes();
// The connected device with that backend identifier.
std::optional<int> nbd_with_backend(const std::string& backend);

}  // namespace nerofs::mount
