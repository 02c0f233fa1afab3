#include "serve/messages.h"

#include "base/wire.h"

namespace nerofs::serve {
namespace {

constexpr std::uint64_t max_pieces = 1000;  // a packet holds 65536 bytes, a piece 32
constexpr std::uint64_t max_files = 80;

// Moves `count` descriptors out of the packet; false if there aren't that many.
bool take_fds(std::vector<unique_fd>& from, std::size_t& next, std::uint64_t count, std::vector<unique_fd>& into) {
    if (count > from.size() - next) return false;
    for (std::uint64_t i = 0; i < count; ++i) into.push_back(std::move(from[next++]));
    return true;
}

}  // namespace

result<image_map> server_setup::make_map() const {
    std::vector<segment> segments;
    for (const piece& p : pieces) {
        if (p.file >= files.size()) return fail(error_kind::corrupt, "the image map names a file that isn't there");
        segments.push_back({p.device_offset, p.length, files[p.file], p.file_offset});
    }
    return image_map::make(std::move(segments));
}

status send_setup(const os::channel& to, const server_setup& s) {
    wire_writer body;
    body.put(message::setup).put(s.connections).put(s.block_size).put(s.export_name).put(s.pieces.size());
    for (const server_setup::piece& p : s.pieces)
        body.put(p.device_offset).put(p.length).put(p.file).put(p.file_offset);
    std::vector<fd_ref> fds;
    body.put(bool(s.journal)).put(bool(s.control));
    if (s.journal) fds.push_back(s.journal);
    if (s.control) fds.push_back(s.control);
    for (const auto* list : {&s.files, &s.sockets, &s.listeners, &s.kept}) {
        body.put(list->size());
        fds.insert(fds.end(), list->begin(), list->end());
    }
    return to.send(body.bytes(), fds);
}

result<server_setup> decode_setup(os::packet packet) {
    wire_reader body(packet.bytes);
    server_setup s;
    const auto corrupt = [] { return fail(error_kind::corrupt, "the set-up message is malformed"); };
    if (body.get<message>() != message::setup) return corrupt();
    s.connections = body.get<std::uint32_t>();
    s.block_size = body.get<std::uint32_t>();
    s.export_name = body.text();
    const auto pieces = body.get<std::uint64_t>();
    if (!body.ok() || pieces > max_pieces || s.connections > max_connections) return corrupt();
    for (std::uint64_t i = 0; i < pieces; ++i) {
        server_setup::piece p;
        p.device_offset = body.get<std::uint64_t>();
        p.length = body.get<std::uint64_t>();
        p.file = body.get<std::uint32_t>();
        p.file_offset = body.get<std::uint64_t>();
        s.pieces.push_back(p);
    }
    std::size_t next = 0;
    std::vector<unique_fd> one;
    for (unique_fd* single : {&s.journal, &s.control}) {
        if (!body.get<bool>()) continue;
        one.clear();
        if (!take_fds(packet.fds, next, 1, one)) return corrupt();
        *single = std::move(one.front());
    }
    for (auto* list : {&s.files, &s.sockets, &s.listeners, &s.kept}) {
        const auto count = body.get<std::uint64_t>();
        if (count > max_files || !take_fds(packet.fds, next, count, *list)) return corrupt();
    }
    if (!body.done() || next != packet.fds.size() || s.sockets.size() > s.connections ||
        (!s.sockets.empty() && !s.journal))
        return corrupt();
    return s;
}

status send_simple(const os::channel& to, message type) {
    return to.send(wire_writer().put(type).bytes());
}

status send_hello(const os::channel& to, role who) {
    return to.send(wire_writer().put(message::hello).put(who).bytes());
}

status send_connection_ended(const os::channel& to, std::uint32_t index, connection_end how) {
    return to.send(wire_writer().put(message::connection_ended).put(index).put(how).bytes());
}

status send_replacement(const os::channel& to, std::uint32_t index, fd_ref socket) {
    return to.send(wire_writer().put(message::replace_socket).put(index).bytes(), std::span(&socket, 1));
}

}  // namespace nerofs::serve
