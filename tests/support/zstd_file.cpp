#include "support/zstd_file.h"

#include <zstd.h>

#include <fstream>
#include <iterator>
#include <stdexcept>

namespace nerofs::test {
namespace {

constexpr unsigned long long decompressed_bytes_cap = 256ULL << 20;

}  // namespace

std::vector<std::byte> read_file(const std::string& path) {
    std::ifstream in(path, std::ios::binary);
    if (!in) throw std::runtime_error("can't open " + path);
    const std::vector<char> chars{std::istreambuf_iterator<char>(in), {}};
    if (in.bad()) throw std::runtime_error("can't read " + path);
    std::vector<std::byte> bytes(chars.size());
    for (std::size_t i = 0; i < chars.size(); ++i) bytes[i] = static_cast<std::byte>(chars[i]);
    return bytes;
}

std::vector<std::byte> read_zstd_file(const std::string& path) {
    const std::vector<std::byte> packed = read_file(path);
    const unsigned long long size = ZSTD_getFrameContentSize(packed.data(), packed.size());
    if (size > decompressed_bytes_cap) throw std::runtime_error(path + " isn't a zstd frame of known, small size");
    std::vector<std::byte> bytes(size);
    const std::size_t got = ZSTD_decompress(bytes.data(), bytes.size(), packed.data(), packed.size());
    if (ZSTD_isError(got) != 0 || got != size) throw std::runtime_error(path + " is damaged");
    return bytes;
}

}  // namespace nerofs::test
