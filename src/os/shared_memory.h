// Memory that several processes see and that outlives each of them: a sealed memfd and its mapping.
#pragma once

#include <cstddef>

#include "base/result.h"
#include "base/unique_fd.h"

namespace nerofs::os {

// A mapping of a file's first `size` bytes, shared, unmapped when it goes.
class mapping {
  public:
    mapping() = default;
    mapping(mapping&& other) noexcept;
    mapping& operator=(mapping&& other) noexcept;
    ~mapping();

    // `size` must be what the file has: the caller checks (file_size) or made it.
    static result<mapping> map(fd_ref file, std::size_t size, bool writable);

    void* data() const { return data_; }
    std::size_t size() const { return size_; }

  private:
    void* data_ = nullptr;
    std::size_t size_ = 0;
};

// A memfd of that size, zero-filled, sealed against growing and shrinking (so no access to it can fault).
result<unique_fd> make_memfd(const char* name, std::size_t size);

// Size of a file, memfd or block device in bytes.
result<std::uint64_t> file_size(fd_ref file);

}  // namespace nerofs::os
