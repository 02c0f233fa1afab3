// Platforms: what an image runs on, how people write it, and which of an index's images suits a machine.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace nerofs::oci {

// As the OCI image specification names them: Go's GOOS and GOARCH.
struct platform {
    std::string os;
    std::string architecture;
    std::string variant;  // may be empty
    std::string os_version;
    std::vector<std::string> os_features;
    friend bool operator==(const platform&, const platform&) = default;
};

// OS/ARCH or OS/ARCH/VARIANT; the architecture also as uname(1) or Debian call it (x86_64, aarch64, armhf). Error:
// usage.
result<platform> parse_platform(std::string_view text);

// "linux/arm64/v8": os, architecture and variant as they are.
std::string to_string(const platform& p);

// Linux on `machine`, the kernel's name of an architecture ("x86_64", "armv7l"). One that isn't known stays as it is.
platform platform_of_machine(std::string_view machine);
// This machine's (uname(2)).
platform this_platform();

// The same platform always the same way: known other names replaced, the variant that is understood when there is none
// filled in (arm64 is arm64/v8, arm is arm/v7, amd64 is amd64/v1).
platform normalised(const platform& p);

// How well an image for `offered` suits someone who wants `wanted`: 0 is exactly, more is worse, nullopt not at all.
// Variants of arm, arm64 and amd64 suit when they are the wanted one or older. A variant that only one of the two has,
// of another architecture, suits after the others.
std::optional<unsigned> distance(const platform& wanted, const platform& offered);

}  // namespace nerofs::oci
