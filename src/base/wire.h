// The encoding of messages between our own processes: fixed little-endian numbers and length-prefixed strings in the
// order in which both sides name them. A reader that runs out of bytes turns bad and stays bad: check ok() once, at the
// end.
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "base/endian.h"

namespace nerofs {

class wire_writer {
  public:
    template <class T>
    requires std::integral<T> || std::is_enum_v<T> wire_writer& put(T value) {
        const packed_int<std::uint64_t, std::endian::little> packed(static_cast<std::uint64_t>(value));
        const auto bytes = std::as_bytes(std::span(&packed, 1));
        bytes_.insert(bytes_.end(), bytes.begin(), bytes.end());
        return *this;
    }
    wire_writer& put(std::string_view text);

    std::span<const std::byte> bytes() const { return bytes_; }

  private:
    std::vector<std::byte> bytes_;
};

class wire_reader {
  public:
    explicit wire_reader(std::span<const std::byte> bytes) : bytes_(bytes) {}

    // A number that doesn't fit T turns the reader bad.
    template <class T>
    requires std::integral<T> || std::is_enum_v<T> T get() {
        const std::uint64_t value = number();
        if constexpr (std::is_enum_v<T>) {
            return static_cast<T>(get_as<std::underlying_type_t<T>>(value));
        } else {
            return get_as<T>(value);
        }
    }
    std::string text();

    // Everything read so far was there.
    bool ok() const { return ok_; }
    // ... and nothing is left over.
    bool done() const { return ok_ && bytes_.empty(); }

  private:
    std::uint64_t number();
    template <class T>
    T get_as(std::uint64_t value) {
        const T narrow = static_cast<T>(value);
        if (static_cast<std::uint64_t>(narrow) != value) ok_ = false;
        return ok_ ? narrow : T{};
    }

    std::span<const std::byte> bytes_;
    bool ok_ = true;
};

}  // namespace nerofs
