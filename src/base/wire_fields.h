// Whole values in messages. The fields of a type are listed once, by a function beside it, for both directions:
//     void walk_fields(auto&& take, point& p) { take(p.x, p.y); }
// encode() and decode() know such types, numbers, enums, text, seconds, and optional values and lists of all these.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <type_traits>
#include <vector>

#include "base/result.h"
#include "base/wire.h"

namespace nerofs {

// The rest of a longer list isn't read, and is left over.
inline constexpr std::size_t most_wire_elements = 160;

template <class T>
void encode(wire_writer& to, const T& value) {
    if constexpr (requires { to.put(value); }) {
        to.put(value);
    } else if constexpr (std::is_same_v<T, std::chrono::seconds>) {
        to.put(value.count());
    } else if constexpr (requires { value.has_value(); }) {
        to.put(value.has_value());
        if (value) encode(to, *value);
    } else if constexpr (requires { value.begin(); }) {
        to.put(value.size());
        for (const auto& element : value) encode(to, element);
    } else {
        // The list is the same for what is only read.
        walk_fields([&](const auto&... field) { (encode(to, field), ...); }, const_cast<T&>(value));
    }
}

template <class T>
void decode(wire_reader& from, T& value) {
    if constexpr (std::is_same_v<T, std::string>) {
        value = from.text();
    } else if constexpr (requires { from.get<T>(); }) {
        value = from.get<T>();
    } else if constexpr (std::is_same_v<T, std::chrono::seconds>) {
        value = std::chrono::seconds(from.get<std::int64_t>());
    } else if constexpr (requires { value.has_value(); }) {
        if (from.get<bool>()) decode(from, value.emplace());
    } else if constexpr (requires { value.begin(); }) {
        const auto count = from.get<std::uint64_t>();
        for (std::uint64_t i = 0; from.ok() && i < count && i < most_wire_elements; ++i)
            decode(from, value.emplace_back());
    } else {
        walk_fields([&](auto&... field) { (decode(from, field), ...); }, value);
    }
}

void walk_fields(auto&& take, error& e) {
    take(e.kind, e.code, e.text, e.hint);
}

}  // namespace nerofs
