#include "fetch/messages.h"

#include "base/wire.h"

namespace nerofs::fetch {
namespace {

enum class message : std::uint8_t { check = 1, info = 2, failed = 3 };

}  // namespace

status send_check(const os::channel& to, const check_request& request, fd_ref image) {
    return to.send(wire_writer().put(message::check).put(request.offset).put(request.has_extra_devices).bytes(),
                   std::span(&image, 1));
}

result<check_request> decode_check(const os::packet& packet) {
    wire_reader body(packet.bytes);
    const auto type = body.get<message>();
    check_request request;
    request.offset = body.get<std::uint64_t>();
    request.has_extra_devices = body.get<bool>();
    if (type != message::check || !body.done() || packet.fds.size() != 1)
        return fail(error_kind::corrupt, "a malformed request");
    return request;
}

status send_info(const os::channel& to, const image_info& i) {
    wire_writer body;
    body.put(message::info).put(i.size_bytes).put(i.block_size).put(i.needed_bytes).put(i.image_block_size);
    body.put(i.uuid).put(i.volume_name).put(i.features).put(i.kernel_series).put(i.kernel_feature);
    body.put(i.build_time).put(i.flat_devices);
    return to.send(body.bytes());
}

status send_error(const os::channel& to, const error& e) {
    return to.send(wire_writer().put(message::failed).put(e.kind).put(e.code).put(e.text).put(e.hint).bytes());
}

result<image_info> receive_info(const os::channel& from, os::deadline until) {
    NEROFS_TRY(const os::packet packet, from.receive(until));
    wire_reader body(packet.bytes);
    const auto type = body.get<message>();
    if (type == message::failed) {
        error e;
        e.kind = body.get<error_kind>();
        e.code = body.get<int>();
        e.text = body.text();
        e.hint = body.text();
        if (body.done()) return fail(std::move(e));
    } else if (type == message::info) {
        image_info i;
        i.size_bytes = body.get<std::uint64_t>();
        i.block_size = body.get<std::uint32_t>();
        i.needed_bytes = body.get<std::uint64_t>();
        i.image_block_size = body.get<std::uint32_t>();
        i.uuid = body.text();
        i.volume_name = body.text();
        i.features = body.text();
        i.kernel_series = body.text();
        i.kernel_feature = body.text();
        i.build_time = body.get<std::uint64_t>();
        i.flat_devices = body.get<bool>();
        if (body.done()) return i;
    }
    return fail(error_kind::corrupt, "the fetcher's answer is malformed");
}

std::string needs_of(const image_info& info) {
    if (info.kernel_series.empty() || info.kernel_feature == "EROFS") return {};  // each kernel that has EROFS at all
    return "Linux " + info.kernel_series + " or later (" + info.kernel_feature + ")";
}

}  // namespace nerofs::fetch
