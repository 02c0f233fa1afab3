// Compressed test data, decompressed in memory.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace nerofs::test {

// The whole of a file. Throws std::runtime_error with the reason when it can't be read.
std::vector<std::byte> read_file(const std::string& path);

// What a .zst file holds: one frame of known size, at most 256 MiB. Throws std::runtime_error.
std::vector<std::byte> read_zstd_file(const std::string& path);

}  // namespace nerofs::test
