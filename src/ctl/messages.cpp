#include "ctl/messages.h"

namespace nerofs::ctl {

void walk_fields(auto&& take, attach_request& r) {
    take(r.id, r.source, r.path, r.target, r.fs_offset, r.extra_devices, r.via, r.nbd.method, r.nbd.connections,
         r.nbd.timeout, r.nbd.dead_timeout, r.remote, r.secrets, r.cache.none, r.cache.directory, r.cache.bytes);
}

void walk_fields(auto&& take, reattach_request& r) {
    take(r.record, r.index, r.secrets);
}

void walk_fields(auto&& take, attach_answer& a) {
    take(a.device, a.transport, a.note, a.needs);
}

void walk_fields(auto&& take, mount_status& s) {
    take(s.id, s.source, s.target, s.device, s.transport, s.size_bytes, s.block_size, s.connections, s.live_connections,
         s.keeper_pid, s.server_pid, s.server_restarts, s.requests, s.reply_bytes, s.errors, s.takeovers, s.attached_at,
         s.remote, s.fetcher_pid, s.fetcher_restarts, s.resolved, s.fetched);
}

namespace {

template <class Message>
os::packet encode_message(message type, const Message& m) {
    wire_writer body;
    body.put(type);
    encode(body, m);
    return {{body.bytes().begin(), body.bytes().end()}, {}};
}

template <class Message>
result<Message> decode_message(wire_reader& from) {
    Message m;
    decode(from, m);
    if (!from.done()) return fail(error_kind::corrupt, "a message is malformed");
    return m;
}

}  // namespace

error decode_error(wire_reader& from) {
    error e;
    decode(from, e);
    if (!from.done()) return make_error(error_kind::corrupt, "a message is malformed");
    return e;
}

os::packet encode(const attach_request& r) {
    return encode_message(message::attach, r);
}
os::packet encode(const reattach_request& r) {
    return encode_message(message::reattach, r);
}
os::packet encode(const attach_answer& a) {
    return encode_message(message::attach_answer, a);
}
os::packet encode(const mount_status& s) {
    return encode_message(message::status_answer, s);
}

result<attach_request> decode_attach(wire_reader& from) {
    return decode_message<attach_request>(from);
}
result<reattach_request> decode_reattach(wire_reader& from) {
    return decode_message<reattach_request>(from);
}
result<attach_answer> decode_attach_answer(wire_reader& from) {
    return decode_message<attach_answer>(from);
}
result<mount_status> decode_status(wire_reader& from) {
    return decode_message<mount_status>(from);
}

status send(const os::channel& to, const os::packet& packet) {
    const std::vector<fd_ref> fds(packet.fds.begin(), packet.fds.end());
    return to.send(packet.bytes, fds);
}

status send_simple(const os::channel& to, message type) {
    return to.send(wire_writer().put(type).bytes());
}

status send_text(const os::channel& to, message type, const std::string& text, fd_ref fd) {
    return to.send(wire_writer().put(type).put(text).bytes(), std::span(&fd, fd ? 1 : 0));
}

status send_failed(const os::channel& to, const error& e) {
    wire_writer body;
    body.put(message::failed);
    encode(body, e);
    return to.send(body.bytes());
}

status send_settled(const os::channel& to, settled how) {
    return to.send(wire_writer().put(message::settle_answer).put(how).bytes());
}

wire_reader body_of(const os::packet& packet) {
    wire_reader body(packet.bytes);
    body.get<message>();
    return body;
}

result<os::packet> receive_answer(const os::channel& from, message type, os::deadline until) {
    NEROFS_TRY(os::packet packet, from.receive(until));
    wire_reader body(packet.bytes);
    const auto got = body.get<message>();
    if (got == message::failed) return fail(decode_error(body));
    if (got != type) return fail(error_kind::corrupt, "an unexpected answer");
    return packet;
}

}  // namespace nerofs::ctl
