// The exit status of mount.erofs, umount.erofs and nerofs: the bits that mount(8) documents.
#pragma once

#include "base/result.h"

namespace nerofs::cli {

namespace exit_bit {
inline constexpr int success = 0;
inline constexpr int usage = 1;          // wrong command line, or the caller may not do it
inline constexpr int system = 2;         // out of memory, descriptors or processes
inline constexpr int internal = 4;       // a bug of ours; main() returns it for an exception
inline constexpr int interrupted = 8;    // the user gave up
inline constexpr int mtab = 16;          // never: there is no mtab to write
inline constexpr int mount_failed = 32;  // anything else that kept the mount from being
inline constexpr int some_succeeded = 64;
}  // namespace exit_bit

// One bit, never 0.
int to_exit_code(const error& e);

}  // namespace nerofs::cli
