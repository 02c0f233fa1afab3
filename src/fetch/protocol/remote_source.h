// An image that isn't on this machine: what the front knows of it, and what the fetcher needs to open it.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/wire_fields.h"

namespace nerofs::fetch {

enum class remote_kind : std::uint8_t { none, url, registry };
enum class prefetch_mode : std::uint8_t { none, metadata, all };

// Where it is and how it is fetched. Holds no secret: it may be in records and logs.
struct remote_source {
    remote_kind kind = remote_kind::none;
    std::string name;                    // the URL without user and query... as given; or the reference, canonical
    std::optional<std::uint32_t> layer;  // of the image in the registry
    std::string blob;                    // "sha256:<hex>", or empty
    std::string platform;                // "linux/arm64/v8", or empty: this machine's
    std::string tarindex;                // the layer's metadata, a file of this machine; absolute, or empty: its own
    std::string zinfo;                   // where it can be decoded (codec/zinfo.h): the same
    bool insecure = false;               // http, and certificates that can't be verified
    std::string ca_file;                 // absolute, or empty: the system's
    std::chrono::seconds timeout{60};    // how long a read waits for the source
    prefetch_mode prefetch = prefetch_mode::metadata;
    std::uint64_t background_rate = 0;  // bytes a second for what nobody waits for; 0: no limit
    bool push_indexes = false;          // of its layers, to the registry, when it is opened; not in records
    bool raw = false;                   // the bytes of a URL or layer as they are, of whatever; not in records

    // Where the credential was found (oci::credential_origin), to find it again there.
    std::uint8_t credential_kind = 0;
    std::string credential_place;
    std::string credential_user;

    friend bool operator==(const remote_source&, const remote_source&) = default;
};

// What must be kept in memory only.
struct remote_secrets {
    std::string username;
    std::string password;
    std::string identity_token;
    std::string url;                   // the URL in full, where its query or user part was left out of the name
    std::vector<std::string> proxies;  // "https_proxy=http://user:password@host:port"
};

enum class part_kind : std::uint8_t {
    stored,    // bytes as the source has them
    metadata,  // EROFS metadata of a tree of layers, made on this machine from their indexes
    content,   // the tar that a layer is, decoded
};

// A blob in the cache that a device is made of.
struct remote_part {
    part_kind kind = part_kind::stored;
    std::string key;               // in the cache; empty: kept for this mount only
    std::string digest;            // of its bytes, or empty: they may change unnoticed
    std::uint64_t size = 0;        // bytes
    std::string layer;             // of content: the digest of the layer as it is stored
    std::uint64_t layer_size = 0;  // ... and its bytes
    std::string index;             // ... and the name by which its index is kept

    friend bool operator==(const remote_part&, const remote_part&) = default;
};

// The bytes that were found under it. Once known a fetcher serves these and no others.
struct remote_identity {
    std::vector<remote_part> parts;  // of the device, in order; several are filled up to whole blocks each
    std::string etag;                // of a URL: strong, or empty
    std::string resolved;            // the reference with the manifest's digest; empty for a URL
    bool plain_http = false;         // how the registry speaks

    std::uint64_t bytes() const;                   // of all parts
    std::uint64_t offset_of(std::size_t n) const;  // of a part in the device; parts.size(): the device's end
    bool has_digests() const;                      // so that all of it can be checked

    friend bool operator==(const remote_identity&, const remote_identity&) = default;
};

// Of an image of layers (erofs/writer.h).
inline constexpr std::uint64_t part_block_bytes = 512;

// Docker makes at most 127 layers.
inline constexpr std::size_t most_parts = 160;
static_assert(most_parts <= most_wire_elements);

// What the fetcher tells of its work. Counted from its start; a restarted one begins anew.
struct fetch_statistics {
    std::uint64_t present_bytes = 0;
    std::uint64_t total_bytes = 0;
    std::uint64_t requests = 0;
    std::uint64_t fetched_bytes = 0;
    std::uint64_t retries = 0;
    std::uint64_t redirects = 0;
    std::uint64_t waiting_reads = 0;
    std::uint64_t in_flight = 0;
    std::uint64_t latency_us = 0;        // of one request; 0: unknown
    std::uint64_t bytes_per_second = 0;  // of all connections; 0: unknown
    bool verified = false;
    std::string last_failure;
};

void walk_fields(auto&& take, remote_source& s) {
    take(s.kind, s.name, s.layer, s.blob, s.platform, s.tarindex, s.zinfo, s.insecure, s.ca_file, s.timeout, s.prefetch,
         s.background_rate, s.push_indexes, s.raw, s.credential_kind, s.credential_place, s.credential_user);
}
void walk_fields(auto&& take, remote_secrets& s) {
    take(s.username, s.password, s.identity_token, s.url, s.proxies);
}
void walk_fields(auto&& take, remote_part& p) {
    take(p.kind, p.key, p.digest, p.size, p.layer, p.layer_size, p.index);
}
void walk_fields(auto&& take, remote_identity& i) {
    take(i.parts, i.etag, i.resolved, i.plain_http);
}
void walk_fields(auto&& take, fetch_statistics& s) {
    take(s.present_bytes, s.total_bytes, s.requests, s.fetched_bytes, s.retries, s.redirects, s.waiting_reads,
         s.in_flight, s.latency_us, s.bytes_per_second, s.verified, s.last_failure);
}

// Overwrites the texts.
void wipe(remote_secrets& s);

}  // namespace nerofs::fetch
