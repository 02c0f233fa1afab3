// The calls whose order decides what a crash leaves on disk, as a seam: tests record and replay them.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/result.h"
#include "base/unique_fd.h"

namespace nerofs::cache {

class file_io {
  public:
    virtual ~file_io() = default;
    // pwrite(2) and fdatasync(2): -1 and errno on failure.
    virtual ssize_t write_at(fd_ref file, std::span<const std::byte> bytes, std::uint64_t offset) = 0;
    virtual int sync(fd_ref file) = 0;

    // The system's. Any thread.
    static file_io& system();
};

// All of the bytes, or an error with its errno: ENOSPC and EDQUOT say that there is no room (is_out_of_space).
status write_fully(file_io& io, fd_ref file, std::span<const std::byte> bytes, std::uint64_t offset);

// There is no room on the file system, in the quota or in the run directory: the caller goes on without this cache, or
// after room was made.
bool is_out_of_space(const error& e);

}  // namespace nerofs::cache
