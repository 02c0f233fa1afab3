// What a client may say before it has an export: no input may crash the machine, make it stand still, hold or say more
// than its caps, or depend on how the bytes were cut. The first byte of the input chooses the cut; the rest is the
// client.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

#include "nbd/handshake.h"
#include "require.h"

namespace {

using namespace nerofs::nbd;
using namespace nerofs::fuzz;

struct outcome {
    std::vector<std::byte> said = {};
    std::size_t used = 0;
    handshake_state state = handshake_state::more;
    close_reason reason = close_reason::none;

    friend bool operator==(const outcome&, const outcome&) = default;
};

void check_step(const handshake_step& step, std::size_t given) {
    require(step.consumed <= given);
    require(step.send.size() <= max_answer_bytes);
    require(step.consumed > 0 || step.state != handshake_state::more);
    // An answer in state `more` is one or several whole option replies.
    std::span<const std::byte> rest = step.send;
    while (step.state == handshake_state::more && !rest.empty()) {
        option_reply reply;
        require(rest.size() >= sizeof reply);
        std::memcpy(&reply, rest.data(), sizeof reply);
        require(reply.magic == opt_reply_magic);
        require(rest.size() - sizeof reply >= reply.length);
        rest = rest.subspan(sizeof reply + reply.length);
    }
}

outcome converse(std::span<const std::byte> input, std::size_t piece) {
    handshake machine(export_info{.size = 1u << 20, .name = "disk", .description = "an image"});
    outcome out;
    for (std::size_t start = 0; start < input.size() && out.state == handshake_state::more; start += piece) {
        std::span<const std::byte> in = input.subspan(start, std::min(piece, input.size() - start));
        while (!in.empty() && out.state == handshake_state::more) {
            const handshake_step step = machine.next(in);
            check_step(step, in.size());
            in = in.subspan(step.consumed);
            out.used += step.consumed;
            out.said.insert(out.said.end(), step.send.begin(), step.send.end());
            out.state = step.state;
        }
    }
    out.reason = machine.reason();
    require((out.state == handshake_state::closed) == (out.reason != close_reason::none));
    require(out.used <= 4 + (max_options + 1) * (sizeof(option_header) + max_skipped_bytes));
    require(out.said.size() <= max_options * max_answer_bytes);
    if (out.state == handshake_state::transmission)
        require(machine.session().export_name.empty() || machine.session().export_name == "disk");
    return out;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size == 0) return 0;
    const std::size_t piece = data[0] % 40 + 1u;
    const auto input = std::as_bytes(std::span(data + 1, size - 1));
    require(converse(input, std::max<std::size_t>(input.size(), 1)) == converse(input, piece));
    return 0;
}
