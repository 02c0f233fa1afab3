// A span decoded by zlib and by ISA-L. What both take is the same bytes, what zlib takes ISA-L refuses only for damage
// right behind it, and neither writes beyond the output. Some damage that zlib finds (codes that aren't complete) ISA-L
// doesn't: that is what digests are for. The input: bits (1 byte), output size (3), window size / 129 (1), then the
// window, then the compressed bytes.
#include "codec/gzip_span.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "require.h"

namespace {

using namespace nerofs::codec;
using namespace nerofs::fuzz;

constexpr std::size_t guard_bytes = 64;
constexpr std::size_t ahead_bytes = 128 << 10;
constexpr std::byte guard{0xa5};

struct outcome {
    bool taken;
    std::vector<std::byte> out;
};

outcome decode(const gzip_checkpoint& from, std::span<const std::byte> compressed, std::size_t size, inflater by) {
    // Of their own size, so that a sanitizer sees what lies behind them.
    const std::vector<std::byte> in(compressed.begin(), compressed.end());
    std::vector<std::byte> out(size + guard_bytes, guard);
    const auto decoded = decode_gzip_span(from, in, std::span(out).first(size), by);
    require(std::all_of(out.begin() + static_cast<std::ptrdiff_t>(size), out.end(),
                        [](std::byte b) { return b == guard; }));
    require(decoded || decoded.error().kind == nerofs::error_kind::corrupt);
    out.resize(size);
    return {decoded.has_value(), std::move(out)};
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size < 5) return 0;
    auto rest = std::as_bytes(std::span(data, size)).subspan(5);
    const std::size_t window = std::min({std::size_t{data[4]} * 129, rest.size(), gzip_window_bytes});
    const gzip_checkpoint from{.compressed_offset = 1000,
                               .decoded_offset = 100000,
                               .bits = static_cast<std::uint8_t>(data[0] & 7),
                               .window = rest.first(window)};
    rest = rest.subspan(window);
    const std::size_t wanted = (data[1] + (std::size_t{data[2]} << 8) + (std::size_t{data[3]} << 16)) % (1 << 21);
    const outcome by_zlib = decode(from, rest, wanted, inflater::zlib);
    const outcome by_fastest = decode(from, rest, wanted, inflater::fastest);
    require(!by_zlib.taken || (by_fastest.taken && by_zlib.out == by_fastest.out));
    if (has_isal()) {
        const outcome by_isal = decode(from, rest, wanted, inflater::isal);
        if (by_zlib.taken && by_isal.taken) require(by_zlib.out == by_isal.out);
        // ISA-L decodes ahead of what is asked for, and so may find the damage behind it.
        if (by_zlib.taken && !by_isal.taken) require(!decode(from, rest, wanted + ahead_bytes, inflater::zlib).taken);
    }
    return 0;
}
