// Bytes that the origin serves: in memory, or in a file that may be large.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "base/unique_fd.h"

namespace nerofs::test {

class content {
  public:
    content() = default;
    content(std::string bytes);                                  // NOLINT: text is the usual content
    content(const char* bytes) : content(std::string(bytes)) {}  // NOLINT
    // Throws std::system_error if the file can't be opened.
    static content of_file(const std::string& path);

    std::uint64_t size() const { return size_; }
    // Fills the span from `offset`; the range must lie inside.
    void read(std::uint64_t offset, std::span<std::byte> into) const;
    // "sha256:..."
    std::string digest() const;

  private:
    std::uint64_t size_ = 0;
    std::shared_ptr<const std::string> memory_;
    std::shared_ptr<const unique_fd> file_;
};

}  // namespace nerofs::test
