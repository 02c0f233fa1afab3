#include "erofs/metadata.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "base/checked.h"
#include "erofs/superblock.h"

namespace nerofs::erofs {

result<const metadata_windows::slot*> metadata_windows::window(std::uint64_t address) {
    slot& s = slots_[address / window_bytes % windows];
    if (s.address != address) {
        s.address = ~std::uint64_t{0};  // nothing may be believed of it if the load fails
        s.bytes.resize(std::min<std::uint64_t>(window_bytes, end_ - address));
        NEROFS_CHECK(load_(address, s.bytes));
        s.address = address;
    }
    return &s;
}

status metadata_windows::read(std::uint64_t address, std::span<std::byte> into) {
    if (!range_within<std::uint64_t>(address, into.size(), end_)) {
        return fail(error_kind::corrupt, fmt::format("metadata at byte {} lies beyond its {} bytes",
                                                     with_commas(address), with_commas(end_)));
    }
    while (!into.empty()) {
        const std::uint64_t in_window = address % window_bytes;
        NEROFS_TRY(const slot* const s, window(address - in_window));
        const std::size_t length = std::min<std::uint64_t>(into.size(), s->bytes.size() - in_window);
        std::memcpy(into.data(), s->bytes.data() + in_window, length);
        into = into.subspan(length);
        address += length;
    }
    return {};
}

}  // namespace nerofs::erofs
