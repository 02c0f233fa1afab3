// What the tests of this folder share: sample images, images made on the spot by mkfs.erofs, and a reader over memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "erofs/byte_reader.h"
#include "support/scratch_directory.h"

namespace nerofs::erofs::test {

using bytes = std::vector<std::byte>;
using nerofs::test::run;
using nerofs::test::scratch_directory;

// The names of tests/data/samples/*.erofs.zst without their suffix, sorted.
std::vector<std::string> sample_names();
// One of them, unpacked.
bytes sample(const std::string& name);
// <name>.tarindex alone, and with the tar of <name>.tar.gz behind it.
bytes tarindex(const std::string& name);
bytes tarindex_with_tar(const std::string& name);

// Whether mkfs.erofs is installed; tests that want it skip otherwise.
bool have_mkfs();
// The image mkfs.erofs makes of `tree` with `options`. Throws std::runtime_error.
bytes mkfs(const std::string& tree, const std::string& options);
class memory_reader final : public byte_reader {
  public:
    explicit memory_reader(bytes content) : content_(std::move(content)) {}
    status read_exact(std::uint64_t offset, std::span<std::byte> into) override;

    bytes& content() { return content_; }
    std::uint64_t size() const { return content_.size(); }
    // Bytes read so far, for tests of bounds.
    std::uint64_t read_bytes() const { return read_bytes_; }

  private:
    bytes content_;
    std::uint64_t read_bytes_ = 0;
};

}  // namespace nerofs::erofs::test
