#include <algorithm>
#include <cstring>

#include "codec/stream_decoder.h"

namespace nerofs::codec {
namespace {

class plain_decoder final : public stream_decoder {
  public:
    result<progress> decode(std::span<const std::byte> in, std::span<std::byte> out) override {
        const std::size_t now = std::min(in.size(), out.size());
        if (now != 0) std::memcpy(out.data(), in.data(), now);
        return progress{now, now};
    }
};

}  // namespace

std::unique_ptr<stream_decoder> decode_plain() {
    return std::make_unique<plain_decoder>();
}

}  // namespace nerofs::codec
