#include "codec/zstd_bytes.h"

#include <zstd.h>

#include <new>

#include "codec/zstd_seek.h"

namespace nerofs::codec {

std::vector<std::byte> zstd_packed(std::span<const std::byte> bytes, int level) {
    std::vector<std::byte> packed(ZSTD_compressBound(bytes.size()));
    const std::size_t made = ZSTD_compress(packed.data(), packed.size(), bytes.data(), bytes.size(), level);
    if (ZSTD_isError(made) != 0) throw std::bad_alloc();  // there is room enough: nothing else can fail
    packed.resize(made);
    packed.shrink_to_fit();
    return packed;
}

std::optional<std::uint64_t> zstd_unpacked_bytes(std::span<const std::byte> packed) {
    const unsigned long long size = ZSTD_getFrameContentSize(packed.data(), packed.size());
    if (size == ZSTD_CONTENTSIZE_ERROR || size == ZSTD_CONTENTSIZE_UNKNOWN) return std::nullopt;
    return size;
}

result<std::vector<std::byte>> zstd_unpacked(std::span<const std::byte> packed, std::size_t most) {
    const auto size = zstd_unpacked_bytes(packed);
    if (!size) return fail(error_kind::corrupt, "zstd frame: it doesn't tell its size");
    if (*size > most || *size > max_zstd_frame_bytes)
        return fail(error_kind::corrupt, "zstd frame: it decodes to too much");
    std::vector<std::byte> bytes(static_cast<std::size_t>(*size));
    NEROFS_CHECK(decode_zstd_frame(packed, bytes));
    return bytes;
}

}  // namespace nerofs::codec
