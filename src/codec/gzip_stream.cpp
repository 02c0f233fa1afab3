#define ZLIB_CONST  // next_in is const
#include <zlib.h>

#include <algorithm>
#include <array>
#include <new>
#include <stdexcept>

#include "codec/gzip_span_by.h"

namespace nerofs::codec {
namespace {

constexpr int raw_deflate = -15;
constexpr int gzip_only = 15 + 16;

void must(int answer) {
    if (answer == Z_MEM_ERROR) throw std::bad_alloc();
    if (answer != Z_OK) throw std::runtime_error("zlib refuses a checkpoint");
}

class zlib_decoder final : public stream_decoder {
  public:
    explicit zlib_decoder(const gzip_checkpoint& from) : first_bits_(from.bits) {
        must(inflateInit2(&z_, raw_deflate));
        if (!from.window.empty())
            must(inflateSetDictionary(&z_, reinterpret_cast<const Bytef*>(from.window.data()),
                                      static_cast<uInt>(from.window.size())));
    }
    ~zlib_decoder() override { inflateEnd(&z_); }

    result<progress> decode(std::span<const std::byte> in, std::span<std::byte> out) override {
        in = in.first(std::min(in.size(), max_gzip_span_bytes));
        out = out.first(std::min(out.size(), max_gzip_span_bytes));
        z_.next_in = reinterpret_cast<const Bytef*>(in.data());
        z_.avail_in = static_cast<uInt>(in.size());
        z_.next_out = reinterpret_cast<Bytef*>(out.data());
        z_.avail_out = static_cast<uInt>(out.size());
        if (first_bits_ != 0 && z_.avail_in != 0) {
            must(inflatePrime(&z_, first_bits_, *z_.next_in >> (8 - first_bits_)));
            first_bits_ = 0;
            take(1);
        }
        while (first_bits_ == 0 && z_.avail_out != 0) {
            if (to_skip_ != 0) {
                const std::size_t now = std::min<std::size_t>(to_skip_, z_.avail_in);
                take(now);
                to_skip_ -= now;
                if (to_skip_ != 0) break;
            }
            const int answer = inflate(&z_, Z_NO_FLUSH);
            if (answer == Z_BUF_ERROR) break;  // all is taken
            if (answer == Z_STREAM_END) {
                // The first member began before, so its checksum isn't for what was decoded here.
                if (raw_) to_skip_ = detail::gzip_trailer_bytes;
                raw_ = false;
                must(inflateReset2(&z_, gzip_only));
            } else if (answer == Z_MEM_ERROR) {
                throw std::bad_alloc();
            } else if (answer != Z_OK) {
                return fail(error_kind::corrupt,
                            std::string("gzip stream: ") + (z_.msg != nullptr ? z_.msg : "damaged"));
            }
        }
        return progress{in.size() - z_.avail_in, out.size() - z_.avail_out};
    }

  private:
    void take(std::size_t bytes) {
        z_.next_in += bytes;
        z_.avail_in -= static_cast<uInt>(bytes);
    }

    z_stream z_{};
    int first_bits_;
    bool raw_ = true;
    std::size_t to_skip_ = 0;
};

}  // namespace

result<std::unique_ptr<stream_decoder>> decode_gzip_from(const gzip_checkpoint& from, inflater by) {
    if (!detail::possible(from) || (by == inflater::isal && !has_isal()))
        return fail(error_kind::usage, "gzip stream: a checkpoint that can't be, or no ISA-L");
    if (by != inflater::zlib && has_isal()) return detail::isal_stream(from);
    return std::make_unique<zlib_decoder>(from);
}

result<std::unique_ptr<stream_decoder>> decode_gzip(inflater by) {
    // As if a member without content had just ended: deflate's shortest stream, and a trailer that nobody compares.
    static constexpr std::array<std::byte, 2 + detail::gzip_trailer_bytes> ended{std::byte{3}};
    NEROFS_TRY(auto decoder, decode_gzip_from({}, by));
    std::byte nothing{};
    NEROFS_CHECK(decoder->decode(ended, {&nothing, 1}));
    return decoder;
}

}  // namespace nerofs::codec
