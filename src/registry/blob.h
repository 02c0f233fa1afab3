// A registry's blob as a source of bytes.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>

#include "base/result.h"
#include "oci/digest.h"
#include "registry/patience.h"
#include "registry/session.h"
#include "source/range_source.h"

namespace nerofs::registry {

struct opened_blob {
    std::unique_ptr<source::range_source> source;  // shares the session; the client must outlive it
    std::uint64_t size = 0;
};

// The blob of that digest in the session's repository. With its size (a descriptor's) and a session that has resolved
// something nobody is asked; else blocks until the registry has told it. Not on the client's thread. The bytes aren't
// checked against the digest: whoever has all of them does that. ETags aren't pinned, since the digest says more.
//
// Errors, with the image's name in front: what range_source::probe() and resolve() can say; unsupported when the
// registry gives the blob only whole.
result<opened_blob> open_blob(const std::shared_ptr<session>& with, const oci::digest& name,
                              std::optional<std::uint64_t> size, const patience& p,
                              source::range_source_options how = {});

}  // namespace nerofs::registry
