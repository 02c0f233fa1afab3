#include "fetch/protocol/messages.h"

#include "base/wire.h"
#include "os/fd_fields.h"

namespace nerofs::fetch {
namespace {

error decode_failed(wire_reader& body) {
    error e;
    e.kind = body.get<error_kind>();
    e.code = body.get<int>();
    e.text = body.text();
    e.hint = body.text();
    return body.done() ? e : make_error(error_kind::corrupt, "the fetcher's answer is malformed");
}

auto malformed() {
    return fail(error_kind::corrupt, "a malformed message");
}

}  // namespace

message type_of(const os::packet& packet) {
    return wire_reader(packet.bytes).get<message>();
}

status send_simple(const os::channel& to, message type) {
    return to.send(wire_writer().put(type).bytes());
}

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
    if (type != message::check || !body.done() || packet.fds.size() != 1) return malformed();
    return request;
}

status send_open(const os::channel& to, const open_request& request, const given_files& files) {
    wire_writer body;
    body.put(message::open);
    encode(body, request.source);
    encode(body, request.secrets);
    body.put(request.known.has_value());
    encode(body, request.known.value_or(remote_identity()));
    std::vector<fd_ref> list;
    for (const unique_fd* fd : {&files.tarindex, &files.zinfo}) os::put_fd(body, list, *fd);
    return to.send(body.bytes(), list);
}

result<open_request> decode_open(os::packet& packet, given_files& files) {
    wire_reader body(packet.bytes);
    const auto type = body.get<message>();
    open_request request;
    decode(body, request.source);
    decode(body, request.secrets);
    const bool known = body.get<bool>();
    remote_identity identity;
    decode(body, identity);
    if (known) request.known = std::move(identity);
    std::size_t next = 0;
    for (unique_fd* fd : {&files.tarindex, &files.zinfo})
        if (!os::take_fd(body, packet.fds, next, *fd)) return malformed();
    if (type != message::open || !body.done()) return malformed();
    return request;
}

status send_cache(const os::channel& to, const cache_request& request, const cache_descriptors& fds) {
    wire_writer body;
    body.put(message::cache).put(request.part).put(request.fs_offset).put(request.has_extra_devices).put(request.check);
    std::vector<fd_ref> list;
    for (const unique_fd* fd : {&fds.data, &fds.map, &fds.touched, &fds.durable, &fds.index})
        os::put_fd(body, list, *fd);
    return to.send(body.bytes(), list);
}

result<cache_request> decode_cache(os::packet& packet, cache_descriptors& fds) {
    wire_reader body(packet.bytes);
    const auto type = body.get<message>();
    cache_request request;
    request.part = body.get<std::uint32_t>();
    request.fs_offset = body.get<std::uint64_t>();
    request.has_extra_devices = body.get<bool>();
    request.check = body.get<bool>();
    std::size_t next = 0;
    for (unique_fd* fd : {&fds.data, &fds.map, &fds.touched, &fds.durable, &fds.index})
        if (!os::take_fd(body, packet.fds, next, *fd)) return malformed();
    if (type != message::cache || !body.done() || next != packet.fds.size() || !fds.data || !fds.map || !fds.touched)
        return malformed();
    return request;
}

status send_layer_files(const os::channel& to, std::uint32_t number, const layer_files& files) {
    wire_writer body;
    body.put(message::layer_files).put(number).put(files.from);
    std::vector<fd_ref> list;
    for (const unique_fd* fd : {&files.content, &files.fresh, &files.index}) os::put_fd(body, list, *fd);
    return to.send(body.bytes(), list);
}

result<layer_files> decode_layer_files(os::packet& packet, std::uint32_t number) {
    wire_reader body(packet.bytes);
    const auto type = body.get<message>();
    const auto of = body.get<std::uint32_t>();
    layer_files files;
    files.from = body.get<index_origin>();
    std::size_t next = 0;
    for (unique_fd* fd : {&files.content, &files.fresh, &files.index})
        if (!os::take_fd(body, packet.fds, next, *fd)) return malformed();
    if (type != message::layer_files || of != number || !body.done() || !files.content || !files.fresh ||
        files.from > index_origin::pushed)
        return malformed();
    return files;
}

status send_metadata_file(const os::channel& to, fd_ref file, std::uint64_t most_content_bytes) {
    return to.send(wire_writer().put(message::metadata_file).put(most_content_bytes).bytes(), std::span(&file, 1));
}

result<unique_fd> decode_metadata_file(os::packet& packet, std::uint64_t& most_content_bytes) {
    wire_reader body(packet.bytes);
    const auto type = body.get<message>();
    most_content_bytes = body.get<std::uint64_t>();
    if (type != message::metadata_file || !body.done() || packet.fds.size() != 1) return malformed();
    return std::move(packet.fds.front());
}

status send_layers(const os::channel& to, const std::vector<stored_layer>& layers) {
    wire_writer body;
    body.put(message::layers).put(layers.size());
    for (const stored_layer& l : layers) {
        body.put(l.digest).put(l.size);
        for (const std::string& name : l.index_names) body.put(name);
    }
    return to.send(body.bytes());
}

result<std::vector<stored_layer>> decode_layers(const os::packet& packet) {
    wire_reader body(packet.bytes);
    const auto type = body.get<message>();
    const auto count = body.get<std::uint64_t>();
    std::vector<stored_layer> layers;
    for (std::uint64_t i = 0; body.ok() && i < count && i < most_parts; ++i) {
        stored_layer& l = layers.emplace_back();
        l.digest = body.text();
        l.size = body.get<std::uint64_t>();
        for (std::string& name : l.index_names) name = body.text();
    }
    if (type != message::layers || !body.done()) return malformed();
    return layers;
}

status send_indexed(const os::channel& to, const indexed_layer& layer) {
    return to.send(wire_writer()
                       .put(message::indexed)
                       .put(layer.number)
                       .put(layer.from)
                       .put(layer.digest)
                       .put(layer.size)
                       .bytes());
}

result<indexed_layer> decode_indexed(const os::packet& packet) {
    wire_reader body(packet.bytes);
    const auto type = body.get<message>();
    indexed_layer layer;
    layer.number = body.get<std::uint32_t>();
    layer.from = body.get<index_origin>();
    layer.digest = body.text();
    layer.size = body.get<std::uint64_t>();
    if (type != message::indexed || !body.done() || layer.from > index_origin::pushed) return malformed();
    return layer;
}

status send_progress(const os::channel& to, std::string_view what) {
    return to.send(wire_writer().put(message::progress).put(what).bytes());
}

status send_pushed(const os::channel& to, std::string_view digest) {
    return to.send(wire_writer().put(message::pushed).put(digest).bytes());
}

std::string decode_text(const os::packet& packet) {
    wire_reader body(packet.bytes);
    (void)body.get<message>();
    return body.text();
}

status send_server(const os::channel& to, fd_ref channel) {
    return to.send(wire_writer().put(message::server).bytes(), std::span(&channel, 1));
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

status send_opened(const os::channel& to, const remote_identity& identity) {
    wire_writer body;
    body.put(message::opened);
    encode(body, identity);
    return to.send(body.bytes());
}

status send_statistics(const os::channel& to, const fetch_statistics& s) {
    wire_writer body;
    body.put(message::statistics_answer);
    encode(body, s);
    return to.send(body.bytes());
}

result<fetch_statistics> decode_statistics(const os::packet& packet) {
    wire_reader body(packet.bytes);
    const auto type = body.get<message>();
    fetch_statistics s;
    decode(body, s);
    if (type != message::statistics_answer || !body.done()) return malformed();
    return s;
}

result<image_info> receive_info(const os::channel& from, os::deadline until) {
    NEROFS_TRY(const os::packet packet, from.receive(until));
    wire_reader body(packet.bytes);
    const auto type = body.get<message>();
    if (type == message::failed) return fail(decode_failed(body));
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
    if (type == message::info && body.done()) return i;
    return fail(error_kind::corrupt, "the fetcher's answer is malformed");
}

result<remote_identity> decode_opened(const os::packet& packet) {
    wire_reader body(packet.bytes);
    const auto type = body.get<message>();
    if (type == message::failed) return fail(decode_failed(body));
    remote_identity identity;
    decode(body, identity);
    if (type == message::opened && body.done() && !identity.parts.empty()) return identity;
    return fail(error_kind::corrupt, "the fetcher's answer is malformed");
}

std::string needs_of(const image_info& info) {
    if (info.kernel_series.empty() || info.kernel_feature == "EROFS") return {};  // each kernel that has EROFS at all
    return "Linux " + info.kernel_series + " or later (" + info.kernel_feature + ")";
}

}  // namespace nerofs::fetch
