// The body of a registry's error (OCI distribution specification, "Error Codes"), in words. Pure.
#pragma once

#include <string>
#include <string_view>

namespace nerofs::oci {

// "MANIFEST_UNKNOWN: manifest unknown": the first error's code and message, quoted and cut; empty when the body holds
// none. Token services write {"details": "..."} or {"message": "..."}, which is taken, too.
std::string registry_error_text(std::string_view body);

}  // namespace nerofs::oci
