#include "serve/messages.h"

#include <algorithm>

#include "base/wire.h"
#include "os/fd_fields.h"

namespace nerofs::serve {
namespace {

constexpr std::uint64_t max_pieces = 1000;  // a packet holds 65536 bytes, a piece 40
constexpr std::uint64_t max_files = 80;
constexpr std::uint64_t max_blobs = 256;
constexpr std::size_t blobs_in_setup = 16;   // in the same packet as up to max_connections sockets
constexpr std::size_t blobs_in_packet = 24;  // in one of their own

// Moves `count` descriptors out of the packet; false if there aren't that many.
bool take_fds(std::vector<unique_fd>& from, std::size_t& next, std::uint64_t count, std::vector<unique_fd>& into) {
    if (count > from.size() - next) return false;
    for (std::uint64_t i = 0; i < count; ++i) into.push_back(std::move(from[next++]));
    return true;
}

void put_blobs(wire_writer& body, std::vector<fd_ref>& fds, std::span<const server_setup::blob> blobs) {
    for (const server_setup::blob& b : blobs) {
        body.put(b.key).put(b.size);
        for (const unique_fd* fd : {&b.data, &b.map, &b.touched, &b.pin, &b.durable}) os::put_fd(body, fds, *fd);
    }
}

bool take_blobs(wire_reader& body, std::vector<unique_fd>& from, std::size_t& next, std::size_t count,
                std::vector<server_setup::blob>& into) {
    for (std::size_t i = 0; i < count; ++i) {
        server_setup::blob& b = into.emplace_back();
        b.key = body.text();
        b.size = body.get<std::uint64_t>();
        for (unique_fd* fd : {&b.data, &b.map, &b.touched, &b.pin, &b.durable})
            if (!os::take_fd(body, from, next, *fd)) return false;
        if (!b.data || !b.map) return false;
    }
    return true;
}

}  // namespace

result<image_map> server_setup::make_map(std::span<const blob_view> views) const {
    std::vector<segment> segments;
    for (const piece& p : pieces) {
        if (p.file >= (p.cached ? views.size() : files.size()))
            return fail(error_kind::corrupt, "the image map names a file that isn't there");
        const blob_view* const view = p.cached ? &views[p.file] : nullptr;
        segments.push_back(
            {p.device_offset, p.length, view ? view->data() : fd_ref(files[p.file]), p.file_offset, view});
    }
    return image_map::make(std::move(segments));
}

status send_setup(const os::channel& to, const server_setup& s) {
    wire_writer body;
    body.put(message::setup).put(s.connections).put(s.block_size).put(s.export_name).put(s.pieces.size());
    for (const server_setup::piece& p : s.pieces)
        body.put(p.device_offset).put(p.length).put(p.file).put(p.file_offset).put(p.cached);
    std::vector<fd_ref> fds;
    for (const unique_fd* fd : {&s.journal, &s.control, &s.fetcher}) os::put_fd(body, fds, *fd);
    body.put(s.patience.count()).put(s.blobs.size());
    std::span<const server_setup::blob> blobs = s.blobs;
    put_blobs(body, fds, blobs.first(std::min(blobs.size(), blobs_in_setup)));
    for (const auto* list : {&s.files, &s.sockets, &s.fuse, &s.listeners, &s.kept}) {
        body.put(list->size());
        fds.insert(fds.end(), list->begin(), list->end());
    }
    NEROFS_CHECK(to.send(body.bytes(), fds));
    for (std::size_t sent = blobs_in_setup; sent < blobs.size(); sent += blobs_in_packet) {
        wire_writer rest;
        rest.put(message::more_blobs);
        fds.clear();
        put_blobs(rest, fds, blobs.subspan(sent, std::min(blobs.size() - sent, blobs_in_packet)));
        NEROFS_CHECK(to.send(rest.bytes(), fds));
    }
    return {};
}

result<server_setup> decode_setup(os::packet packet, const std::function<result<os::packet>()>& more) {
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
        p.cached = body.get<bool>();
        s.pieces.push_back(p);
    }
    std::size_t next = 0;
    for (unique_fd* fd : {&s.journal, &s.control, &s.fetcher})
        if (!os::take_fd(body, packet.fds, next, *fd)) return corrupt();
    s.patience = std::chrono::milliseconds(body.get<std::int64_t>());
    const auto blobs = body.get<std::uint64_t>();
    if (!body.ok() || blobs > max_blobs) return corrupt();
    if (!take_blobs(body, packet.fds, next, std::min<std::size_t>(blobs, blobs_in_setup), s.blobs)) return corrupt();
    for (auto* list : {&s.files, &s.sockets, &s.fuse, &s.listeners, &s.kept}) {
        const auto count = body.get<std::uint64_t>();
        if (count > max_files || !take_fds(packet.fds, next, count, *list)) return corrupt();
    }
    const std::size_t links = s.sockets.size() + s.fuse.size();
    if (!body.done() || next != packet.fds.size() || links > s.connections || (links != 0 && !s.journal) ||
        (!s.sockets.empty() && !s.fuse.empty()))
        return corrupt();
    while (s.blobs.size() < blobs) {
        if (!more) return corrupt();
        NEROFS_TRY(os::packet rest, more());
        wire_reader said(rest.bytes);
        next = 0;
        if (said.get<message>() != message::more_blobs ||
            !take_blobs(said, rest.fds, next, std::min(blobs - s.blobs.size(), blobs_in_packet), s.blobs) ||
            !said.done() || next != rest.fds.size())
            return corrupt();
    }
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

status send_fetcher(const os::channel& to, fd_ref channel) {
    return to.send(wire_writer().put(message::set_fetcher).bytes(), std::span(&channel, 1));
}

status send_replacement(const os::channel& to, std::uint32_t index, fd_ref socket) {
    return to.send(wire_writer().put(message::replace_socket).put(index).bytes(), std::span(&socket, 1));
}

}  // namespace nerofs::serve
