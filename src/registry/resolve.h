// From an image's name to its manifest: the registry is asked, and everything is checked against its digest.
#pragma once

#include <optional>

#include "base/result.h"
#include "oci/digest.h"
#include "oci/manifest.h"
#include "oci/platform.h"
#include "oci/reference.h"
#include "registry/patience.h"
#include "registry/session.h"

namespace nerofs::registry {

struct resolved_image {
    oci::reference image;              // with the manifest's digest: the same again, whatever becomes of the tag
    oci::digest digest;                // of the manifest's bytes
    std::uint64_t size = 0;            // ... of which there are so many
    std::optional<oci::digest> index;  // of the index that the name stood for
    oci::image_manifest manifest;      // its media type, config and layers; oci::select_layer() takes it from here
};

// Asks for what the session's image names and, if that is an index, for the manifest that suits `wanted` best. Blocks;
// not on the client's thread. Bytes that a digest names are checked against it. Of those that a tag names the digest is
// computed; an answer that contradicts its own Docker-Content-Digest is refused, as something has damaged it.
//
// Errors, each one line with the image's name in front: auth (refused; the hint tells how to log in), not_found (no
// such image, or none for the platform), timeout (the deadline, and what went wrong last), cancelled, corrupt,
// unsupported, permanent.
result<resolved_image> resolve(session& with, const oci::platform& wanted, const patience& p);

}  // namespace nerofs::registry
