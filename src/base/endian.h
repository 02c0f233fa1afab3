// Integers as they lie on disk or on the wire: unaligned, of a fixed byte order, safe to read out of a hostile buffer.
#pragma once

#include <array>
#include <bit>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace nerofs {

template <std::unsigned_integral T>
constexpr T byte_swap(T value) {
    if constexpr (sizeof(T) == 1) return value;
    if constexpr (sizeof(T) == 2) return __builtin_bswap16(value);
    if constexpr (sizeof(T) == 4) return __builtin_bswap32(value);
    if constexpr (sizeof(T) == 8) return __builtin_bswap64(value);
}

// An integer of one byte order at any address; alignment 1, so structs of them have no padding.
template <std::unsigned_integral T, std::endian Order>
class packed_int {
  public:
    packed_int() = default;
    packed_int(T value) { *this = value; }  // NOLINT: assignment from a number is what it is for
    packed_int& operator=(T value) {
        if constexpr (Order != std::endian::native) value = byte_swap(value);
        std::memcpy(bytes_.data(), &value, sizeof value);
        return *this;
    }
    T get() const {
        T value;
        std::memcpy(&value, bytes_.data(), sizeof value);
        if constexpr (Order != std::endian::native) value = byte_swap(value);
        return value;
    }
    operator T() const { return get(); }  // NOLINT: reading as a number is what it is for

  private:
    std::array<std::byte, sizeof(T)> bytes_{};
};

using le16 = packed_int<std::uint16_t, std::endian::little>;
using le32 = packed_int<std::uint32_t, std::endian::little>;
using le64 = packed_int<std::uint64_t, std::endian::little>;
using be16 = packed_int<std::uint16_t, std::endian::big>;
using be32 = packed_int<std::uint32_t, std::endian::big>;
using be64 = packed_int<std::uint64_t, std::endian::big>;

static_assert(sizeof(be64) == 8 && alignof(be64) == 1);

}  // namespace nerofs
