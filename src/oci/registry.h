// From an image's name to the blob to be mounted: the registry is asked, everything is checked against its digest.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>

#include "base/result.h"
#include "http/client.h"
#include "oci/document.h"
#include "oci/registry_auth.h"
#include "oci/select_layer.h"

namespace nerofs::oci {

struct resolve_options {
    platform wanted = this_platform();
    layer_choice layer;
    // oci.insecure: http if https doesn't answer. A registry on this machine may always be plain.
    bool plain_allowed = false;
    found_credential who;
    std::function<void(std::function<void(result<credential>)>)> renew;  // as in registry_auth_options
    http::time_point deadline = http::time_point::max();
};

struct resolved_blob {
    reference image;
    digest manifest;    // of the one the layer is in
    image_layer layer;  // its blob's digest, size and media type, kind and role
    std::size_t layer_number = 0;
    http::url url;                        // to GET the blob from; may redirect
    std::shared_ptr<registry_auth> auth;  // what to send there
};

// Asks for the manifest, and for the best one of an index. Blocks until the deadline; not on the client's thread. A
// manifest that is named by a digest is checked against it, one by tag against the digest the registry says. Errors:
// what each step can say, with the image's name in front.
result<resolved_blob> resolve(http::client& client, const reference& image, resolve_options options);

}  // namespace nerofs::oci
