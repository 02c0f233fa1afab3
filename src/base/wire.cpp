#include "base/wire.h"

#include <cstring>

namespace nerofs {

wire_writer& wire_writer::put(std::string_view text) {
    put(text.size());
    const auto bytes = std::as_bytes(std::span(text.data(), text.size()));
    bytes_.insert(bytes_.end(), bytes.begin(), bytes.end());
    return *this;
}

std::uint64_t wire_reader::number() {
    le64 value;
    if (!ok_ || bytes_.size() < sizeof value) {
        ok_ = false;
        return 0;
    }
    std::memcpy(&value, bytes_.data(), sizeof value);
    bytes_ = bytes_.subspan(sizeof value);
    return value;
}

std::string wire_reader::text() {
    const std::uint64_t size = number();
    if (!ok_ || size > bytes_.size()) {
        ok_ = false;
        return {};
    }
    std::string text(reinterpret_cast<const char*>(bytes_.data()), size);
    bytes_ = bytes_.subspan(size);
    return text;
}

}  // namespace nerofs
