#include "cache/presence/miss_messages.h"

#include "base/wire.h"

namespace nerofs::cache {

status send_missing(const os::channel& to, std::span<const missing_piece> pieces) {
    wire_writer body;
    body.put(miss_message::wanted).put(pieces.size());
    for (const missing_piece& p : pieces) body.put(p.id).put(p.blob).put(p.offset).put(p.length);
    return to.send(body.bytes());
}

result<std::vector<missing_piece>> decode_missing(const os::packet& packet) {
    wire_reader body(packet.bytes);
    const auto type = body.get<miss_message>();
    const auto count = body.get<std::uint64_t>();
    std::vector<missing_piece> pieces;
    if (body.ok() && type == miss_message::wanted && count <= most_missing_in_packet) {
        pieces.resize(count);
        for (missing_piece& p : pieces) {
            p.id = body.get<std::uint64_t>();
            p.blob = body.get<std::uint32_t>();
            p.offset = body.get<std::uint64_t>();
            p.length = body.get<std::uint64_t>();
        }
        if (body.done()) return pieces;
    }
    return fail(error_kind::corrupt, "a malformed message of misses");
}

status send_read_failed(const os::channel& to, std::uint64_t id) {
    return to.send(wire_writer().put(miss_message::failed).put(id).bytes());
}

result<std::uint64_t> decode_read_failed(const os::packet& packet) {
    wire_reader body(packet.bytes);
    const auto type = body.get<miss_message>();
    const auto id = body.get<std::uint64_t>();
    if (type == miss_message::failed && body.done()) return id;
    return fail(error_kind::corrupt, "a malformed message of a failed read");
}

}  // namespace nerofs::cache
