#include <zstd.h>
#include <zstd_errors.h>

#include <bit>
#include <new>
#include <string>

#include "codec/stream_decoder.h"
#include "codec/zstd_seek.h"

namespace nerofs::codec {
namespace {

class zstd_decoder final : public stream_decoder {
  public:
    zstd_decoder() : context_(ZSTD_createDCtx()) {
        if (context_ == nullptr) throw std::bad_alloc();
        ZSTD_DCtx_setParameter(context_, ZSTD_d_windowLogMax, std::countr_zero(max_zstd_window_bytes));
    }
    ~zstd_decoder() override { ZSTD_freeDCtx(context_); }

    result<progress> decode(std::span<const std::byte> in, std::span<std::byte> out) override {
        ZSTD_inBuffer from{in.data(), in.size(), 0};
        ZSTD_outBuffer to{out.data(), out.size(), 0};
        while (to.pos < to.size) {
            const std::size_t taken = from.pos;
            const std::size_t made = to.pos;
            const std::size_t answer = ZSTD_decompressStream(context_, &to, &from);
            if (ZSTD_isError(answer) != 0) {
                const ZSTD_ErrorCode code = ZSTD_getErrorCode(answer);
                if (code == ZSTD_error_memory_allocation) throw std::bad_alloc();
                return fail(
                    code == ZSTD_error_frameParameter_windowTooLarge ? error_kind::unsupported : error_kind::corrupt,
                    std::string("zstd stream: ") + ZSTD_getErrorName(answer));
            }
            if (from.pos == taken && to.pos == made) break;
        }
        return progress{from.pos, to.pos};
    }

  private:
    ZSTD_DCtx* context_;
};

}  // namespace

std::unique_ptr<stream_decoder> decode_zstd() {
    return std::make_unique<zstd_decoder>();
}

}  // namespace nerofs::codec
