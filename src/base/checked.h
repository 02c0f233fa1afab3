// Arithmetic on numbers that came from outside: an overflow is nullopt, never a wrapped value.
#pragma once

#include <concepts>
#include <optional>

namespace nerofs {

template <std::unsigned_integral T>
constexpr std::optional<T> checked_add(T a, T b) {
    T sum;
    if (__builtin_add_overflow(a, b, &sum)) return std::nullopt;
    return sum;
}

template <std::unsigned_integral T>
constexpr std::optional<T> checked_mul(T a, T b) {
    T product;
    if (__builtin_mul_overflow(a, b, &product)) return std::nullopt;
    return product;
}

// Whether [offset, offset + length) lies in [0, size).
template <std::unsigned_integral T>
constexpr bool range_within(T offset, T length, T size) {
    return offset <= size && length <= size - offset;
}

}  // namespace nerofs
