#include "layer/tar_numbers.h"

#include <algorithm>
#include <array>
#include <limits>

#include "base/checked.h"

namespace nerofs::layer {
namespace {

constexpr std::string_view blanks{" \0", 2};
constexpr std::size_t checksum_offset = 148;
constexpr std::size_t checksum_bytes = 8;
constexpr std::uint32_t nanoseconds_per_second = 1000000000;

std::optional<std::int64_t> base_256(std::string_view field) {
    const auto first = static_cast<unsigned char>(field.front());
    const bool negative = (first & 0x40) != 0;
    // The bits that fill up to the sign must all be like it.
    const unsigned char fill = negative ? 0xff : 0x00;
    std::uint64_t value = negative ? ~std::uint64_t{0} : 0;
    for (std::size_t i = 0; i < field.size(); ++i) {
        auto byte = static_cast<unsigned char>(field[i]);
        if (i == 0) byte = static_cast<unsigned char>(negative ? byte : byte & 0x7f);
        if (field.size() - i > sizeof value) {
            if (byte != fill) return std::nullopt;
            continue;
        }
        value = value << 8 | byte;
    }
    const auto number = static_cast<std::int64_t>(value);
    if ((number < 0) != negative) return std::nullopt;
    return number;
}

int base64_digit(char c) {
    if (c >= 'A' && c <= 'Z') return c - 'A';
    if (c >= 'a' && c <= 'z') return c - 'a' + 26;
    if (c >= '0' && c <= '9') return c - '0' + 52;
    if (c == '+') return 62;
    return c == '/' ? 63 : -1;
}

int hex_digit(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

}  // namespace

std::optional<std::int64_t> tar_number(std::string_view field) {
    if (field.empty()) return std::nullopt;
    if ((static_cast<unsigned char>(field.front()) & 0x80) != 0) return base_256(field);
    const std::size_t start = field.find_first_not_of(blanks);
    if (start == std::string_view::npos) return 0;
    field.remove_prefix(start);
    field = field.substr(0, field.find_last_not_of(blanks) + 1);
    field = field.substr(0, field.find('\0'));
    std::uint64_t value = 0;
    for (const char c : field) {  // at most 12 digits
        if (c < '0' || c > '7') return std::nullopt;
        value = value << 3 | static_cast<std::uint64_t>(c - '0');
    }
    return static_cast<std::int64_t>(value);
}

std::optional<std::uint64_t> decimal(std::string_view digits) {
    if (digits.empty()) return std::nullopt;
    std::uint64_t value = 0;
    for (const char c : digits) {
        if (c < '0' || c > '9') return std::nullopt;
        const auto tenfold = checked_mul<std::uint64_t>(value, 10);
        const auto next = tenfold ? checked_add(*tenfold, static_cast<std::uint64_t>(c - '0')) : std::nullopt;
        if (!next) return std::nullopt;
        value = *next;
    }
    return value;
}

std::optional<erofs::timestamp> pax_time(std::string_view text) {
    const bool negative = text.starts_with('-');
    if (negative) text.remove_prefix(1);
    const std::size_t dot = text.find('.');
    const auto whole = decimal(text.substr(0, dot));
    // A year beyond any calendar, and far from where its negative overflows.
    if (!whole || *whole > std::numeric_limits<std::int64_t>::max() / 2) return std::nullopt;
    std::uint32_t nanoseconds = 0;
    bool cut = false;
    if (dot != std::string_view::npos) {
        std::uint32_t unit = nanoseconds_per_second / 10;
        for (const char c : text.substr(dot + 1)) {
            if (c < '0' || c > '9') return std::nullopt;
            nanoseconds += unit * static_cast<std::uint32_t>(c - '0');
            cut = cut || (unit == 0 && c != '0');
            unit /= 10;
        }
    }
    erofs::timestamp time{static_cast<std::int64_t>(*whole), nanoseconds};
    if (!negative) return time;
    time.seconds = -time.seconds;
    if (cut) ++nanoseconds;
    if (nanoseconds != 0) {
        --time.seconds;
        time.nanoseconds = nanoseconds_per_second - nanoseconds;
    }
    return time;
}

std::optional<std::string> base64(std::string_view text) {
    while (text.ends_with('=')) text.remove_suffix(1);
    std::string out;
    out.reserve(text.size() / 4 * 3 + 3);
    std::uint32_t bits = 0;
    unsigned count = 0;
    for (const char c : text) {
        const int digit = base64_digit(c);
        if (digit < 0) return std::nullopt;
        bits = bits << 6 | static_cast<std::uint32_t>(digit);
        count += 6;
        if (count >= 8) {
            count -= 8;
            out.push_back(static_cast<char>(bits >> count & 0xff));
        }
    }
    if (count >= 6) return std::nullopt;  // one digit alone is no byte
    return out;
}

std::optional<std::string> url_decoded(std::string_view text) {
    std::string out;
    out.reserve(text.size());
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (text[i] != '%') {
            out.push_back(text[i]);
            continue;
        }
        if (text.size() - i < 3) return std::nullopt;
        const int high = hex_digit(text[i + 1]);
        const int low = hex_digit(text[i + 2]);
        if (high < 0 || low < 0) return std::nullopt;
        out.push_back(static_cast<char>(high << 4 | low));
        i += 2;
    }
    return out;
}

bool checksum_right(std::span<const std::byte, 512> header) {
    std::int64_t unsigned_sum = 0;
    std::int64_t signed_sum = 0;
    for (std::size_t i = 0; i < header.size(); ++i) {
        const bool own = i >= checksum_offset && i < checksum_offset + checksum_bytes;
        const auto byte = own ? std::uint8_t{' '} : std::to_integer<std::uint8_t>(header[i]);
        unsigned_sum += byte;
        signed_sum += static_cast<std::int8_t>(byte);
    }
    const auto* text = reinterpret_cast<const char*>(header.data()) + checksum_offset;
    const auto stored = tar_number({text, checksum_bytes});
    return stored && (*stored == unsigned_sum || *stored == signed_sum);
}

}  // namespace nerofs::layer
