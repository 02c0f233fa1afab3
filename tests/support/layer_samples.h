// Layers as real tools write them.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <vector>

namespace nerofs::test {

// What a shell command makes of these bytes on its standard input. Throws std::runtime_error when it fails.
std::vector<std::byte> filtered(const std::string& command, std::span<const std::byte> input);

bool has_command(const std::string& name);

// A tar by GNU tar of some 9 MiB: files of text, noise and zeros, and many small ones. Made once.
const std::vector<std::byte>& sample_tar();

// Frames of so many bytes each by zstd(1), one behind the other.
std::vector<std::byte> zstd_frames(std::span<const std::byte> content, std::size_t bytes_each);

}  // namespace nerofs::test
