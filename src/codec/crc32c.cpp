#include "codec/crc32c.h"

#include <array>
#include <cstring>

#include "base/endian.h"

namespace nerofs::codec {
namespace {

constexpr std::uint32_t polynomial = 0x82f63b78;  // 0x1edc6f41 with its bits reversed (RFC 3720, 12.1)

// tables[0] steps one byte; tables[n] steps a byte that n more bytes follow, so that eight look-ups step eight bytes.
using step_tables = std::array<std::array<std::uint32_t, 256>, 8>;

constexpr step_tables make_tables() {
    step_tables tables{};
    for (std::uint32_t value = 0; value < 256; ++value) {
        std::uint32_t crc = value;
        for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1) != 0 ? polynomial : 0);
        tables[0][value] = crc;
    }
    for (std::size_t n = 1; n < tables.size(); ++n) {
        for (std::size_t value = 0; value < 256; ++value) {
            const std::uint32_t before = tables[n - 1][value];
            tables[n][value] = (before >> 8) ^ tables[0][before & 0xff];
        }
    }
    return tables;
}

constexpr step_tables tables = make_tables();

std::uint32_t step_portable(std::uint32_t crc, std::span<const std::byte> bytes) {
    while (bytes.size() >= 8) {
        le32 low;
        le32 high;
        std::memcpy(&low, bytes.data(), 4);
        std::memcpy(&high, bytes.data() + 4, 4);
        const std::uint32_t a = low.get() ^ crc;
        const std::uint32_t b = high.get();
        crc = tables[7][a & 0xff] ^ tables[6][(a >> 8) & 0xff] ^ tables[5][(a >> 16) & 0xff] ^ tables[4][a >> 24] ^
              tables[3][b & 0xff] ^ tables[2][(b >> 8) & 0xff] ^ tables[1][(b >> 16) & 0xff] ^ tables[0][b >> 24];
        bytes = bytes.subspan(8);
    }
    for (const std::byte byte : bytes)
        crc = (crc >> 8) ^ tables[0][(crc ^ std::to_integer<std::uint32_t>(byte)) & 0xff];
    return crc;
}

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) std::uint32_t step_sse42(std::uint32_t crc, std::span<const std::byte> bytes) {
    std::uint64_t wide = crc;
    while (bytes.size() >= 8) {
        std::uint64_t word;
        std::memcpy(&word, bytes.data(), sizeof word);
        wide = __builtin_ia32_crc32di(wide, word);
        bytes = bytes.subspan(8);
    }
    auto narrow = static_cast<std::uint32_t>(wide);
    for (const std::byte byte : bytes) narrow = __builtin_ia32_crc32qi(narrow, std::to_integer<unsigned char>(byte));
    return narrow;
}
#endif

using step_function = std::uint32_t (*)(std::uint32_t, std::span<const std::byte>);

step_function best_step() {
#if defined(__x86_64__)
    if (__builtin_cpu_supports("sse4.2")) return step_sse42;
#endif
    return step_portable;
}

}  // namespace

std::uint32_t crc32c(std::span<const std::byte> bytes, std::uint32_t previous) {
    static const step_function step = best_step();
    return ~step(~previous, bytes);
}

std::uint32_t crc32c_portable(std::span<const std::byte> bytes, std::uint32_t previous) {
    return ~step_portable(~previous, bytes);
}

}  // namespace nerofs::codec
