// An image that lies in memory.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>

#include "erofs/byte_reader.h"

namespace nerofs::fetch {

// A view. Behind its end there are zeros, as where a tar would follow: readers look at whole windows.
class memory_image final : public erofs::byte_reader {
  public:
    explicit memory_image(std::span<const std::byte> bytes) : bytes_(bytes) {}

    status read_exact(std::uint64_t offset, std::span<std::byte> into) override {
        const std::uint64_t here =
            offset < bytes_.size() ? std::min<std::uint64_t>(into.size(), bytes_.size() - offset) : 0;
        if (here > 0) std::copy_n(bytes_.begin() + static_cast<std::ptrdiff_t>(offset), here, into.begin());
        std::fill(into.begin() + static_cast<std::ptrdiff_t>(here), into.end(), std::byte{0});
        return {};
    }

  private:
    std::span<const std::byte> bytes_;
};

}  // namespace nerofs::fetch
