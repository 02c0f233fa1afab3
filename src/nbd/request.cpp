#include "nbd/request.h"

#include "base/checked.h"

namespace nerofs::nbd {

namespace {

constexpr verdict refuse(error_value error, std::uint32_t discard_bytes = 0) {
    return {action::answer_error, error, discard_bytes};
}

verdict classify_read(const request& header, const export_limits& limits) {
    // FUA may stand on any command and says nothing about a read. DF belongs to structured replies, which we never
    // agree to.
    if ((header.flags & ~cmd_flag_fua) != 0) return refuse(error_value::einval);
    if (header.length > limits.max_length) return refuse(error_value::einval);
    if (!range_within<std::uint64_t>(header.offset, header.length, limits.size)) return refuse(error_value::einval);
    return {action::answer_read, error_value::none, 0};
}

}  // namespace

verdict classify(const request& header, const export_limits& limits) {
    if (header.magic != request_magic) return {action::drop, error_value::none, 0};

    switch (static_cast<cmd>(header.type.get())) {
        case cmd::read:
            return classify_read(header, limits);
        case cmd::write:
            if (header.length > limits.max_payload_bytes) return {action::drop, error_value::none, 0};
            // EPERM whatever its flags and range are: on a read-only export no write is better than another.
            return refuse(error_value::eperm, header.length);
        case cmd::trim:
        case cmd::write_zeroes:
            return refuse(error_value::eperm);
        case cmd::disc:
            return {action::disconnect, error_value::none, 0};
        case cmd::flush:         // not offered: nothing here is ever unwritten
        case cmd::cache:         // not offered
        case cmd::block_status:  // needs structured replies
        case cmd::resize:
            break;
    }
    return refuse(error_value::einval);
}

}  // namespace nerofs::nbd
