// An image that lies in memory.
#pragma once

#include <cstring>
#include <utility>
#include <vector>

#include "base/checked.h"
#include "erofs/byte_reader.h"

namespace nerofs::erofs {

class memory_reader final : public byte_reader {
  public:
    // A view; what is moved in is kept.
    explicit memory_reader(std::span<const std::byte> bytes) : bytes_(bytes) {}
    explicit memory_reader(std::vector<std::byte>&& bytes) : kept_(std::move(bytes)), bytes_(kept_) {}

    status read_exact(std::uint64_t offset, std::span<std::byte> into) override {
        if (!range_within<std::uint64_t>(offset, into.size(), bytes_.size()))
            return fail(error_kind::corrupt, "ends before what is wanted of it");
        if (!into.empty()) std::memcpy(into.data(), bytes_.data() + offset, into.size());
        return {};
    }
    std::uint64_t size() const { return bytes_.size(); }

  private:
    std::vector<std::byte> kept_;
    std::span<const std::byte> bytes_;
};

}  // namespace nerofs::erofs
