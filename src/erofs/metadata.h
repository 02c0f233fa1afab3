// Small reads of metadata, served from windows that are kept: inodes, names and xattrs of neighbours lie side by side.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "base/result.h"

namespace nerofs::erofs {

// Bounded memory (512 KiB), direct-mapped. One thread at a time.
class metadata_windows {
  public:
    static constexpr std::size_t window_bytes = 4096;
    static constexpr std::size_t windows = 128;

    // Fills a window from an address that is a multiple of window_bytes, all or nothing.
    using loader = std::function<status(std::uint64_t address, std::span<std::byte> into)>;

    metadata_windows(std::uint64_t end, loader load) : end_(end), load_(std::move(load)), slots_(windows) {}

    // Fills `into` from the address on. Reaching beyond the end is an error of kind corrupt; others are the loader's.
    status read(std::uint64_t address, std::span<std::byte> into);

    std::uint64_t end() const { return end_; }

  private:
    struct slot {
        std::uint64_t address = ~std::uint64_t{0};  // none
        std::vector<std::byte> bytes;
    };

    result<const slot*> window(std::uint64_t address);

    std::uint64_t end_;
    loader load_;
    std::vector<slot> slots_;
};

}  // namespace nerofs::erofs
