#define ZLIB_CONST  // next_in is const
#include <zlib.h>

#include <new>
#include <stdexcept>

#include "codec/gzip_span_by.h"

namespace nerofs::codec::detail {
namespace {

constexpr int raw_deflate = -15;
constexpr int gzip_only = 15 + 16;

struct inflate_stream {
    inflate_stream() {
        if (inflateInit2(&z, raw_deflate) != Z_OK) throw std::bad_alloc();
    }
    inflate_stream(const inflate_stream&) = delete;
    inflate_stream& operator=(const inflate_stream&) = delete;
    ~inflate_stream() { inflateEnd(&z); }

    z_stream z{};
};

void must(int answer) {
    if (answer != Z_OK) throw std::runtime_error("zlib refuses a checkpoint");
}

}  // namespace

status decode_by_zlib(const gzip_checkpoint& from, std::span<const std::byte> compressed, std::span<std::byte> out) {
    inflate_stream stream;
    z_stream& z = stream.z;
    if (from.bits != 0) {
        must(inflatePrime(&z, from.bits, std::to_integer<int>(compressed[0]) >> (8 - from.bits)));
        compressed = compressed.subspan(1);
    }
    if (!from.window.empty())
        must(inflateSetDictionary(&z, reinterpret_cast<const Bytef*>(from.window.data()),
                                  static_cast<uInt>(from.window.size())));
    z.next_in = reinterpret_cast<const Bytef*>(compressed.data());
    z.avail_in = static_cast<uInt>(compressed.size());
    z.next_out = reinterpret_cast<Bytef*>(out.data());
    z.avail_out = static_cast<uInt>(out.size());
    bool raw = true;
    while (z.avail_out != 0) {
        switch (inflate(&z, Z_NO_FLUSH)) {
            case Z_OK:
                break;  // it has made progress
            case Z_STREAM_END:
                if (raw) {  // the member began before the span, so its checksum isn't for what was decoded here
                    if (z.avail_in < gzip_trailer_bytes) return corrupt_span(from, "it ends too early");
                    z.next_in += gzip_trailer_bytes;
                    z.avail_in -= static_cast<uInt>(gzip_trailer_bytes);
                    raw = false;
                }
                must(inflateReset2(&z, gzip_only));
                break;
            case Z_BUF_ERROR:
                return corrupt_span(from, "it ends too early");
            case Z_MEM_ERROR:
                throw std::bad_alloc();
            default:
                return corrupt_span(from, z.msg != nullptr ? z.msg : "damaged");
        }
    }
    return {};
}

}  // namespace nerofs::codec::detail
