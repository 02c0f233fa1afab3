// What the -o lists of a mount mean: flags for mount(2), text for the kernel's file system, and nerofs' own options.
//
// To add an option: a field here, one line in the table of mount_options.cpp, an entry in man/mount.erofs.8 (a test
// holds the two together).
#pragma once

#include <sys/mount.h>

#include <chrono>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/result.h"

namespace nerofs::cli {

enum class nbd_method : std::uint8_t { automatic, netlink, ioctl };
enum class s3_signature : std::uint8_t { v2 = 2, v4 = 4 };
enum class s3_url_style : std::uint8_t { vhost, path };

// Where a field is optional, nullopt means "not given": the default is chosen where it is used.
struct nbd_options {
    nbd_method method = nbd_method::automatic;
    std::optional<unsigned> connections;               // 1..64
    std::optional<std::chrono::seconds> timeout;       // 1 s .. 30 days: of one request
    std::optional<std::chrono::seconds> dead_timeout;  // 0 .. 365 days: for a device without a server
    friend bool operator==(const nbd_options&, const nbd_options&) = default;
};

struct oci_platform {
    std::string os;
    std::string architecture;
    std::string variant;  // may be empty
    friend bool operator==(const oci_platform&, const oci_platform&) = default;
};

enum class prefetch { none, metadata, all };

// How a source that isn't on this machine is fetched and kept.
struct remote_options {
    bool no_cache = false;                        // cache=none: a private file that ends with the mount
    std::string cache_directory;                  // absolute; empty: the default
    std::optional<std::uint64_t> cache_bytes;     // what all of the cache may take on disk
    std::optional<nerofs::cli::prefetch> ahead;   // what is fetched before somebody asks
    std::optional<std::uint64_t> rate;            // bytes a second for what nobody waits for
    std::optional<std::chrono::seconds> timeout;  // how long a read waits for the source, 1 s .. 1 day
    std::string ca_file;                          // absolute
    bool insecure = false;                        // plain http to other machines
    friend bool operator==(const remote_options&, const remote_options&) = default;
};

struct oci_options {
    bool given = false;                  // any oci.* option: SOURCE is an image in a registry
    std::string blob;                    // 64 lower-case hex digits of a sha256, or empty
    std::optional<std::uint32_t> layer;  // from 0; never together with blob
    std::optional<oci_platform> platform;
    std::string username;
    std::string password;  // secret: in no argument vector, record, log or error text
    std::string password_file;
    std::string tarindex;
    std::string zinfo;
    bool insecure = false;  // http and unverified TLS are allowed
    friend bool operator==(const oci_options&, const oci_options&) = default;
};

struct s3_options {
    bool given = false;    // any s3.* option: SOURCE is BUCKET/KEY
    std::string endpoint;  // HOST[:PORT] or an http(s) URL, without credentials
    std::string passwd_file;
    std::string region;
    std::optional<s3_signature> signature;
    std::optional<s3_url_style> url_style;
    friend bool operator==(const s3_options&, const s3_options&) = default;
};

struct mount_options {
    unsigned long flags =
        MS_RDONLY;  // MS_*, for mount(2). EROFS is read-only: "rw", which mount(8) always sends, can't change it
    unsigned long propagation = 0;  // MS_SHARED, ...: takes a mount(2) of its own, after the mount
    bool loop = false;              // a loop device, whatever else the kernel could do
    std::string data;               // file-system options for the kernel, as given and in order
    nbd_options nbd;
    remote_options remote;
    oci_options oci;
    s3_options s3;
    friend bool operator==(const mount_options&, const mount_options&) = default;
};

// Adds one -o list to what earlier ones said; of an option given twice the later counts. Errors: usage, one line that
// names the option; never the value of a secret.
status add_mount_options(mount_options& into, std::string_view list);

// What only the whole of the options can show: options that exclude each other, and the kernel's limit on data. Call it
// after the last add_mount_options.
status check_mount_options(const mount_options& options);

// Both, for a single list.
result<mount_options> parse_mount_options(std::string_view list);

// The options of nerofs itself, for help and man pages.
struct option_info {
    std::string_view name;   // "oci.layer"
    std::string_view value;  // what its value is called; empty when it takes none
    std::string_view help;
};
std::span<const option_info> nerofs_options();

// The names of the flags (nosuid, relatime, ...) and of the options that mount(8), systemd and fstab use and that mean
// nothing here ("x-*" stands for all that begin so).
std::span<const std::string_view> flag_options();
std::span<const std::string_view> ignored_options();

}  // namespace nerofs::cli
