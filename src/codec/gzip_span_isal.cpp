#include "codec/gzip_span_by.h"

#if NEROFS_HAVE_ISAL
#include <isa-l/igzip_lib.h>

#include <algorithm>
#include <memory>
#include <stdexcept>
#include <utility>

namespace nerofs::codec {
namespace detail {
namespace {

const char* name_of(int answer) {
    switch (answer) {
        case ISAL_INVALID_BLOCK:
            return "invalid deflate block";
        case ISAL_INVALID_SYMBOL:
            return "invalid deflate symbol";
        case ISAL_INVALID_LOOKBACK:
            return "invalid distance";
        case ISAL_INVALID_WRAPPER:
        case ISAL_UNSUPPORTED_METHOD:
            return "incorrect gzip header";
        case ISAL_INCORRECT_CHECKSUM:
            return "incorrect checksum";
        default:
            return "damaged";
    }
}

// It takes its dictionary and its input as not const, and doesn't write to them.
std::uint8_t* bytes_of(std::span<const std::byte> bytes) {
    return const_cast<std::uint8_t*>(reinterpret_cast<const std::uint8_t*>(bytes.data()));
}

// In pieces. What isal_inflate() has taken in beyond a block is in read_in; at the end of a gzip member it is given
// back by the library, at the end of raw deflate it isn't.
class isal_decoder final : public stream_decoder {
  public:
    explicit isal_decoder(const gzip_checkpoint& from) : first_bits_(from.bits) {
        isal_inflate_init(&state_);
        if (!from.window.empty() &&
            isal_inflate_set_dict(&state_, bytes_of(from.window), static_cast<std::uint32_t>(from.window.size())) != 0)
            throw std::runtime_error("ISA-L refuses a window");
        state_.crc_flag = ISAL_DEFLATE;
    }

    result<progress> decode(std::span<const std::byte> in, std::span<std::byte> out) override {
        in = in.first(std::min(in.size(), max_gzip_span_bytes));
        out = out.first(std::min(out.size(), max_gzip_span_bytes));
        state_.next_in = bytes_of(in);
        state_.avail_in = static_cast<std::uint32_t>(in.size());
        state_.next_out = reinterpret_cast<std::uint8_t*>(out.data());
        state_.avail_out = static_cast<std::uint32_t>(out.size());
        if (first_bits_ != 0 && state_.avail_in != 0) {
            state_.read_in = std::uint64_t{*state_.next_in} >> (8 - first_bits_);
            state_.read_in_length = first_bits_;
            first_bits_ = 0;
            take(1);
        }
        while (first_bits_ == 0 && state_.avail_out != 0) {
            if (to_skip_ != 0) {
                const std::uint32_t now = std::min(to_skip_, state_.avail_in);
                take(now);
                to_skip_ -= now;
                if (to_skip_ != 0) break;
            }
            const auto before = std::pair(state_.avail_in, state_.avail_out);
            if (const int answer = isal_inflate(&state_); answer < 0)
                return fail(error_kind::corrupt, std::string("gzip stream: ") + name_of(answer));
            if (state_.block_state == ISAL_BLOCK_FINISH) {
                // The first member began before, so its checksum isn't for what was decoded here.
                if (state_.crc_flag == ISAL_DEFLATE)
                    to_skip_ = static_cast<std::uint32_t>(gzip_trailer_bytes) -
                               static_cast<std::uint32_t>(state_.read_in_length / 8);
                isal_inflate_reset(&state_);
                state_.crc_flag = ISAL_GZIP;
            } else if (before == std::pair(state_.avail_in, state_.avail_out)) {
                break;
            }
        }
        return progress{in.size() - state_.avail_in, out.size() - state_.avail_out};
    }

  private:
    void take(std::uint32_t bytes) {
        state_.next_in += bytes;
        state_.avail_in -= bytes;
    }

    inflate_state state_;
    int first_bits_;
    std::uint32_t to_skip_ = 0;
};

}  // namespace

std::unique_ptr<stream_decoder> isal_stream(const gzip_checkpoint& from) {
    return std::make_unique<isal_decoder>(from);
}

status decode_by_isal(const gzip_checkpoint& from, std::span<const std::byte> compressed, std::span<std::byte> out) {
    const auto owned = std::make_unique<inflate_state>();
    inflate_state& state = *owned;
    isal_inflate_init(&state);
    if (!from.window.empty() &&
        isal_inflate_set_dict(&state, bytes_of(from.window), static_cast<std::uint32_t>(from.window.size())) != 0)
        return corrupt_span(from, "the window is refused");
    if (from.bits != 0) {
        state.read_in = std::to_integer<std::uint64_t>(compressed[0]) >> (8 - from.bits);
        state.read_in_length = from.bits;
        compressed = compressed.subspan(1);
    }
    state.crc_flag = ISAL_DEFLATE;
    state.next_in = bytes_of(compressed);
    state.avail_in = static_cast<std::uint32_t>(compressed.size());
    state.next_out = reinterpret_cast<std::uint8_t*>(out.data());
    state.avail_out = static_cast<std::uint32_t>(out.size());
    while (state.avail_out != 0) {
        const auto before = std::pair(state.avail_in, state.avail_out);
        if (const int answer = isal_inflate(&state); answer < 0) return corrupt_span(from, name_of(answer));
        if (state.block_state == ISAL_BLOCK_FINISH) {
            if (state.crc_flag == ISAL_DEFLATE) {
                // The member began before the span, so its checksum isn't for what was decoded here. Bytes that were
                // taken in beyond the last block are given back first.
                const auto unused = static_cast<std::uint32_t>(state.read_in_length / 8);
                state.next_in -= unused;
                state.avail_in += unused;
                if (state.avail_in < gzip_trailer_bytes) return corrupt_span(from, "it ends too early");
                state.next_in += gzip_trailer_bytes;
                state.avail_in -= static_cast<std::uint32_t>(gzip_trailer_bytes);
            }
            isal_inflate_reset(&state);
            state.crc_flag = ISAL_GZIP;
            if (state.avail_out != 0 && state.avail_in == 0) return corrupt_span(from, "it ends too early");
        } else if (before == std::pair(state.avail_in, state.avail_out)) {
            return corrupt_span(from, "it ends too early");
        }
    }
    return {};
}

}  // namespace detail

bool has_isal() {
    return true;
}

}  // namespace nerofs::codec

#else

namespace nerofs::codec {

status detail::decode_by_isal(const gzip_checkpoint&, std::span<const std::byte>, std::span<std::byte>) {
    return fail(error_kind::unsupported, "this build has no ISA-L");
}

std::unique_ptr<stream_decoder> detail::isal_stream(const gzip_checkpoint&) {
    return nullptr;
}

bool has_isal() {
    return false;
}

}  // namespace nerofs::codec

#endif
