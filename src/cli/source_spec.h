// What kind of thing SOURCE is: a local image, an image in a registry, an object in a store, or a URL. Pure: the one
// fact about the file system that matters is handed in.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <variant>

#include "base/result.h"
#include "cli/mount_options.h"
#include "oci/reference.h"

namespace nerofs::cli {

// What the caller's stat(2) of SOURCE found.
enum class local_entry : std::uint8_t { none, file, block_device, other };

struct local_source {
    std::string path;  // as given, perhaps relative
    bool block_device = false;
    friend bool operator==(const local_source&, const local_source&) = default;
};

// docker://REFERENCE, oci://REFERENCE, or with oci.* options REFERENCE alone.
using oci_source = oci::reference;

// s3://BUCKET/KEY, or with s3.* options BUCKET/KEY.
struct s3_source {
    std::string bucket;
    std::string key;
    friend bool operator==(const s3_source&, const s3_source&) = default;
};

struct url_source {
    std::string url;  // may hold secrets (user:password@, a signed query): describe() leaves them out
    friend bool operator==(const url_source&, const url_source&) = default;
};

using source_spec = std::variant<local_source, oci_source, s3_source, url_source>;

// oci.* and s3.* options decide; without them a local file of that name wins, then a scheme. Errors: not_found for a
// path that isn't there, usage for everything that is malformed.
result<source_spec> classify_source(std::string_view source, const mount_options& options, local_entry found);

// SOURCE[:PATH], a path within an image.
struct source_and_path {
    std::string source;
    std::string path;  // "/" when none is given
};

// The shortest SOURCE that is a file here, by `is_local`; all of `text` goes first. Otherwise, what is fetched having
// colons of its own, PATH begins with a '/' and behind the last ":/" that isn't part of "://".
source_and_path split_source(std::string_view text, const std::function<bool(const std::string&)>& is_local);

// "image 'docker.io/library/debian:12' (layer 0, platform linux/arm64)": one line, no secrets.
std::string describe(const source_spec& source, const mount_options& options);

// The parts of a URL that may be shown and stored: no user, no password, and for a query only that there is one.
std::string shown_url(std::string_view url);

// "user:password" of https://user:password@host/, still percent-encoded, and the URL without it.
struct url_parts {
    std::string user_info;
    std::string url;
};
url_parts without_user_info(std::string_view url);

// The answer to a source that is understood but can't be mounted by this version. Kind unsupported.
error not_supported_yet(const source_spec& source, const mount_options& options);

}  // namespace nerofs::cli
