#include "codec/gzip_window.h"

#include <algorithm>
#include <array>

#include "codec/gzip_span.h"

namespace nerofs::codec {

// Decoded with other bytes in the window, the same stream shows which of its output comes from there, and from where:
// once the window's bytes are the low parts of their places, once the high ones, and once the first ones inverted.
// Where the first and the last output differ, a byte of the window was copied.
result<std::vector<std::byte>> needed_gzip_window(const gzip_checkpoint& from, std::span<const std::byte> compressed,
                                                  std::size_t decoded_bytes) {
    const std::size_t size = from.window.size();
    std::array<std::vector<std::byte>, 3> outputs;
    for (std::size_t way = 0; way < outputs.size(); ++way) {
        std::vector<std::byte> places(size);
        for (std::size_t i = 0; i < size; ++i)
            places[i] = static_cast<std::byte>(way == 0 ? i & 0xff : way == 1 ? i >> 8 : ~i & 0xff);
        gzip_checkpoint other = from;
        other.window = places;
        outputs[way].resize(decoded_bytes);
        NEROFS_CHECK(decode_gzip_span(other, compressed, outputs[way]));
    }
    std::vector<std::byte> needed(size);
    std::size_t first = size;
    for (std::size_t i = 0; i < decoded_bytes; ++i) {
        if (outputs[0][i] == outputs[2][i]) continue;
        const std::size_t place =
            std::to_integer<std::size_t>(outputs[0][i]) | std::to_integer<std::size_t>(outputs[1][i]) << 8;
        if (place >= size) return fail(error_kind::corrupt, "gzip window: a reference beyond it");
        needed[place] = from.window[place];
        first = std::min(first, place);
    }
    needed.erase(needed.begin(), needed.begin() + static_cast<std::ptrdiff_t>(first));
    return needed;
}

}  // namespace nerofs::codec
