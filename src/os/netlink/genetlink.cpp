#include "os/netlink/genetlink.h"

#include <libmnl/libmnl.h>
#include <linux/genetlink.h>
#include <linux/netlink.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <string_view>

namespace nerofs::os {
namespace {

constexpr std::size_t buffer_bytes = 32768;  // what libmnl's MNL_SOCKET_BUFFER_SIZE is at most

result<unique_fd> open_socket() {
    unique_fd socket(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_GENERIC));
    if (!socket) return fail_errno("netlink socket");
    sockaddr_nl address{};
    address.nl_family = AF_NETLINK;
    if (::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
        return fail_errno("netlink socket");
    const int on = 1;  // the kernel's own words with its errno
    ::setsockopt(socket.get(), SOL_NETLINK, NETLINK_EXT_ACK, &on, sizeof on);
    return socket;
}

std::string_view extended_text(const nlmsghdr* header, const nlmsgerr* body) {
    if (!(header->nlmsg_flags & NLM_F_ACK_TLVS)) return {};
    std::size_t skip = sizeof(nlmsgerr);
    if (!(header->nlmsg_flags & NLM_F_CAPPED)) skip += body->msg.nlmsg_len - sizeof(nlmsghdr);
    if (header->nlmsg_len < NLMSG_HDRLEN + NLMSG_ALIGN(skip)) return {};
    const auto* start = reinterpret_cast<const std::byte*>(body) + NLMSG_ALIGN(skip);
    const std::size_t size = header->nlmsg_len - NLMSG_HDRLEN - NLMSG_ALIGN(skip);
    for (const attribute& a : parse_attributes(std::span(start, size)))
        if (a.type == NLMSGERR_ATTR_MSG && !a.value.empty())
            return {reinterpret_cast<const char*>(a.value.data()), a.value.size() - 1};
    return {};
}

status exchange(fd_ref socket, std::uint16_t type, std::uint8_t command, std::uint32_t sequence,
                std::span<const std::byte> attribute_bytes, deadline until,
                const std::function<void(std::span<const attribute>)>& on_answer) {
    std::vector<char> buffer(MNL_NLMSG_HDRLEN + GENL_HDRLEN + 64);
    nlmsghdr* header = mnl_nlmsg_put_header(buffer.data());
    header->nlmsg_type = type;
    header->nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;
    header->nlmsg_seq = sequence;
    auto* generic = static_cast<genlmsghdr*>(mnl_nlmsg_put_extra_header(header, sizeof(genlmsghdr)));
    generic->cmd = command;
    generic->version = 1;
    header->nlmsg_len += static_cast<std::uint32_t>(attribute_bytes.size());
    buffer.resize(MNL_NLMSG_HDRLEN + GENL_HDRLEN);
    buffer.insert(buffer.end(), reinterpret_cast<const char*>(attribute_bytes.data()),
                  reinterpret_cast<const char*>(attribute_bytes.data()) + attribute_bytes.size());
    if (::send(socket.get(), buffer.data(), buffer.size(), MSG_NOSIGNAL) < 0) return fail_errno("netlink");

    std::array<char, buffer_bytes> answer;
    for (;;) {
        NEROFS_CHECK(wait_readable(socket, until));
        const ssize_t received = ::recv(socket.get(), answer.data(), answer.size(), 0);
        if (received < 0) {
            if (errno == EINTR) continue;
            return fail_errno("netlink");
        }
        int left = static_cast<int>(received);
        for (auto* h = reinterpret_cast<const nlmsghdr*>(answer.data()); mnl_nlmsg_ok(h, left);
             h = mnl_nlmsg_next(h, &left)) {
            if (h->nlmsg_seq != sequence) continue;
            if (h->nlmsg_type == NLMSG_ERROR) {
                const auto* body = static_cast<const nlmsgerr*>(mnl_nlmsg_get_payload(h));
                if (mnl_nlmsg_get_payload_len(h) < sizeof(nlmsgerr))
                    return fail(error_kind::corrupt, "netlink: short answer");
                if (body->error == 0) return {};
                const std::string_view text = extended_text(h, body);
                error e = errno_error(-body->error, "netlink");
                if (!text.empty()) e.text += " (" + std::string(text) + ")";
                return fail(std::move(e));
            }
            if (h->nlmsg_type != type || mnl_nlmsg_get_payload_len(h) < GENL_HDRLEN || !on_answer) continue;
            const auto* start = static_cast<const std::byte*>(mnl_nlmsg_get_payload_offset(h, GENL_HDRLEN));
            on_answer(parse_attributes(std::span(start, mnl_nlmsg_get_payload_len(h) - GENL_HDRLEN)));
        }
    }
}

}  // namespace

attributes& attributes::put(std::uint16_t type, std::span<const std::byte> value) {
    nlattr header{};
    header.nla_len = static_cast<std::uint16_t>(NLA_HDRLEN + value.size());
    header.nla_type = type;
    const auto head = std::as_bytes(std::span(&header, 1));
    bytes_.insert(bytes_.end(), head.begin(), head.end());
    bytes_.insert(bytes_.end(), value.begin(), value.end());
    bytes_.resize(NLA_ALIGN(bytes_.size()));
    return *this;
}

attributes& attributes::put_u32(std::uint16_t type, std::uint32_t value) {
    return put(type, std::as_bytes(std::span(&value, 1)));
}

attributes& attributes::put_u64(std::uint16_t type, std::uint64_t value) {
    return put(type, std::as_bytes(std::span(&value, 1)));
}

attributes& attributes::put_text(std::uint16_t type, const std::string& text) {
    return put(type, std::as_bytes(std::span(text.c_str(), text.size() + 1)));
}

attributes& attributes::put_nested(std::uint16_t type, const attributes& inner) {
    return put(type | NLA_F_NESTED, inner.bytes());
}

std::uint64_t attribute::number() const {
    std::uint64_t result = 0;
    if (value.size() <= sizeof result && (value.size() & (value.size() - 1)) == 0)
        std::memcpy(&result, value.data(), value.size());  // host byte order; little endian hosts need no widening
    return result;
}

std::vector<attribute> parse_attributes(std::span<const std::byte> bytes) {
    std::vector<attribute> list;
    while (bytes.size() >= NLA_HDRLEN) {
        nlattr header;
        std::memcpy(&header, bytes.data(), sizeof header);
        if (header.nla_len < NLA_HDRLEN || header.nla_len > bytes.size()) break;
        list.push_back({static_cast<std::uint16_t>(header.nla_type & NLA_TYPE_MASK),
                        bytes.subspan(NLA_HDRLEN, header.nla_len - static_cast<std::size_t>(NLA_HDRLEN))});
        bytes = bytes.subspan(std::min<std::size_t>(bytes.size(), NLA_ALIGN(header.nla_len)));
    }
    return list;
}

result<genetlink> genetlink::open(const std::string& family) {
    NEROFS_TRY(unique_fd socket, open_socket());
    attributes request;
    request.put_text(CTRL_ATTR_FAMILY_NAME, family);
    std::uint16_t id = 0;
    auto found = exchange(socket, GENL_ID_CTRL, CTRL_CMD_GETFAMILY, 0, request.bytes(),
                          in_time(std::chrono::seconds(5)), [&id](std::span<const attribute> answer) {
                              for (const attribute& a : answer)
                                  if (a.type == CTRL_ATTR_FAMILY_ID) id = static_cast<std::uint16_t>(a.number());
                          });
    if (!found) return fail(std::move(found).error().in("netlink family '" + family + "'"));
    if (id == 0) return fail(errno_error(ENOENT, "netlink family '" + family + "'"));
    return genetlink(std::move(socket), id);
}

status genetlink::call(std::uint8_t command, const attributes& request, deadline until,
                       const std::function<void(std::span<const attribute>)>& on_answer) {
    return exchange(socket_, family_, command, sequence_++, request.bytes(), until, on_answer);
}

}  // namespace nerofs::os
