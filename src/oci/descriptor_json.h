// How descriptors are read out of a parsed document. For this folder only.
#pragma once

#include <string_view>

#include "base/result.h"
#include "oci/descriptor.h"
#include "oci/json.h"

namespace nerofs::oci {

// `what` names it in errors ("layer 3"). Errors: corrupt; unsupported for a digest of another algorithm.
result<descriptor> read_descriptor(const json& value, std::string_view what);
// The member "annotations" of an object.
result<annotation_map> read_annotations(const json& object, std::string_view what);

}  // namespace nerofs::oci
