// Bytes for tests: the same for the same seed, different at each place, so that a wrong offset shows.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace nerofs::test {

inline std::string random_bytes(std::size_t size, std::uint64_t seed = 1) {
    std::string out(size, '\0');
    std::uint64_t x = seed * 0x9e3779b97f4a7c15u + 1;
    for (char& c : out) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        c = static_cast<char>(x >> 32);
    }
    return out;
}

}  // namespace nerofs::test
