// A few calls relative to directory descriptors. Names are single components and never followed when symbolic links.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"
#include "cache/presence/live_map.h"

namespace nerofs::cache {

// openat(2) with O_CLOEXEC and O_NOFOLLOW. The error names the file.
result<unique_fd> open_in(fd_ref directory, const std::string& name, int flags, mode_t mode = 0);
// Makes it (0700) if it is missing.
result<unique_fd> open_directory_in(fd_ref parent, const std::string& name);
// Gives an open file, which may have no name at all, this one in the directory. EEXIST when there is one.
status link_into(fd_ref directory, const std::string& name, fd_ref file);
// "." and ".." left out.
result<std::vector<std::string>> entries_of(fd_ref directory);

// Removes the files in it; they are no directories. Bytes they took on disk.
std::uint64_t remove_entries(fd_ref directory);

result<file_identity> identity_of(fd_ref file);
// What a file takes on disk.
std::uint64_t disk_bytes_of(fd_ref file);
bool same_file(fd_ref open_file, fd_ref directory, const std::string& name);

// 16 random bytes.
result<instance_id> random_id();

}  // namespace nerofs::cache
