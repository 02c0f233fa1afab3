// Files: open, read, write so that a crash leaves the old or the new content, never half.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "base/result.h"
#include "base/unique_fd.h"

namespace nerofs::os {

// open(2) with O_CLOEXEC. The error names the path.
result<unique_fd> open_file(const std::string& path, int flags, mode_t mode = 0);

// All of a small file (sysfs, records). More than `most` bytes is an error of kind corrupt.
result<std::string> read_small_file(const std::string& path, std::size_t most = 65536);
// The same without its last newline; sysfs attributes.
result<std::string> read_attribute(const std::string& path);

// Writes a file by a temporary beside it, fsync and rename, and fsyncs the directory: after a crash the old file is
// there or the new one. The file's mode is 0600.
status write_file_atomically(const std::string& path, std::string_view content);

// Fills the span from the file at `offset`. Reaching the end of the file first is an error of kind corrupt.
status pread_exact(fd_ref file, std::span<std::byte> into, std::uint64_t offset);

// Makes the directory and its missing parents; each made one gets `mode`. One that exists is left as it is.
status make_directories(const std::string& path, mode_t mode);

// An exclusive lock on a directory, held until the descriptor is closed, by whatever end. Blocks while another holds
// it.
result<unique_fd> lock_directory(const std::string& path);

// The absolute path that `path` spells, without ".", ".." and a slash at its end; no file system is asked.
std::string spelled_out(const std::string& path);

// The absolute path of what `path` names now, symbolic links resolved.
result<std::string> real_path(const std::string& path);

// The directory this process' program lies in.
std::string program_directory();

}  // namespace nerofs::os
