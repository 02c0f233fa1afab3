// What lies beside an image in its registry: found, and put there. By the referrers API of the OCI distribution
// specification 1.1, or, where the registry has none, by its tag scheme.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "oci/descriptor.h"
#include "oci/digest.h"
#include "registry/patience.h"
#include "registry/session.h"

namespace nerofs::registry {

// All block, not on the client's thread. Errors: those of resolve(), with the URL instead of the image's name.

// The artifacts of that type that name the manifest as their subject: of the first page, if there are several. None is
// no error.
result<std::vector<oci::descriptor>> find_referrers(session& with, const oci::digest& subject,
                                                    std::string_view artifact_type, const patience& p);

// A manifest or a small blob by its descriptor, checked against it. Kind corrupt when it is larger than `most_bytes`.
enum class stored_as : std::uint8_t { manifest, blob };
result<std::string> fetch_small(session& with, stored_as how, const oci::descriptor& what, std::size_t most_bytes,
                                const patience& p);

// In one piece, unless the registry has it already.
status push_blob(session& with, const oci::digest& name, std::shared_ptr<const std::string> bytes, const patience& p);

// The manifest of an artifact of `subject`; its blobs are there. `artifact_type` goes into the list that is kept under
// a tag where the registry keeps none; who else writes that list at this very moment may be overwritten. Returns its
// digest.
result<oci::digest> push_artifact(session& with, const oci::digest& subject, std::string manifest,
                                  std::string_view artifact_type, const patience& p);

}  // namespace nerofs::registry
