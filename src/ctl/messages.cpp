#include "ctl/messages.h"

#include <type_traits>

namespace nerofs::ctl {
namespace {

// One list of fields for each message, walked by a writer or a reader, so that the two can't differ.
struct put_fields {
    wire_writer& to;
    template <class T>
    put_fields& operator&(const T& value) {
        if constexpr (std::is_same_v<T, std::chrono::seconds>) {
            to.put(value.count());
        } else if constexpr (requires { fetch::encode(to, value); }) {
            fetch::encode(to, value);
        } else {
            to.put(value);
        }
        return *this;
    }
};

struct get_fields {
    wire_reader& from;
    template <class T>
    get_fields& operator&(T& value) {
        if constexpr (std::is_same_v<T, std::chrono::seconds>) {
            value = std::chrono::seconds(from.get<std::int64_t>());
        } else if constexpr (std::is_same_v<T, std::string>) {
            value = from.text();
        } else if constexpr (requires { fetch::decode(from, value); }) {
            fetch::decode(from, value);
        } else {
            value = from.get<T>();
        }
        return *this;
    }
};

template <class Fields, class Message>
requires std::is_same_v<std::remove_const_t<Message>, attach_request>
void walk(Fields f, Message& m) {
    f& m.id& m.source& m.path& m.target& m.fs_offset& m.extra_devices& m.via& m.nbd.method& m.nbd.connections& m.nbd
        .timeout& m.nbd.dead_timeout& m.remote& m.secrets& m.cache.none& m.cache.directory& m.cache.bytes;
}

template <class Fields, class Message>
requires std::is_same_v<std::remove_const_t<Message>, reattach_request>
void walk(Fields f, Message& m) {
    f& m.record& m.index& m.secrets;
}

template <class Fields, class Message>
requires std::is_same_v<std::remove_const_t<Message>, attach_answer>
void walk(Fields f, Message& m) {
    f& m.device& m.transport& m.note& m.needs;
}

template <class Fields, class Message>
requires std::is_same_v<std::remove_const_t<Message>, mount_status>
void walk(Fields f, Message& m) {
    f& m.id& m.source& m.target& m.device& m.transport& m.size_bytes& m.block_size& m.connections& m.live_connections& m
        .keeper_pid& m.server_pid& m.server_restarts& m.requests& m.reply_bytes& m.errors& m.takeovers& m.attached_at& m
        .remote& m.fetcher_pid& m.fetcher_restarts& m.resolved& m.fetched;
}

template <class Fields, class Message>
requires std::is_same_v<std::remove_const_t<Message>, error>
void walk(Fields f, Message& m) {
    f& m.kind& m.code& m.text& m.hint;
}

os::packet packet_of(const wire_writer& body) {
    return {{body.bytes().begin(), body.bytes().end()}, {}};
}

template <class Message>
os::packet encode_message(message type, const Message& m) {
    wire_writer body;
    body.put(type);
    walk(put_fields{body}, m);
    return packet_of(body);
}

template <class Message>
result<Message> decode_message(wire_reader& from) {
    Message m;
    walk(get_fields{from}, m);
    if (!from.done()) return fail(error_kind::corrupt, "a message is malformed");
    return m;
}

}  // namespace

void encode(wire_writer& to, const error& e) {
    walk(put_fields{to}, e);
}

error decode_error(wire_reader& from) {
    error e;
    walk(get_fields{from}, e);
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
