#include "codec/gzip_span.h"

#include "codec/gzip_span_by.h"

namespace nerofs::codec {

status decode_gzip_span(const gzip_checkpoint& from, std::span<const std::byte> compressed, std::span<std::byte> out,
                        inflater by) {
    if (!detail::possible(from)) return fail(error_kind::usage, "gzip span: a checkpoint that can't be");
    if (compressed.size() > max_gzip_span_bytes || out.size() > max_gzip_span_bytes)
        return fail(error_kind::usage, "gzip span: too large");
    if (out.empty()) return {};
    if (compressed.empty()) return detail::corrupt_span(from, "it ends too early");
    if (by == inflater::isal || (by == inflater::fastest && has_isal())) {
        auto decoded = detail::decode_by_isal(from, compressed, out);
        if (decoded || by == inflater::isal) return decoded;
    }
    return detail::decode_by_zlib(from, compressed, out);
}

}  // namespace nerofs::codec
