#include "support/origin/message.h"

#include <algorithm>
#include <charconv>

#include "codec/hex.h"

namespace nerofs::test {
namespace {

std::string lowered(std::string_view text) {
    std::string out(text);
    std::transform(out.begin(), out.end(), out.begin(),
                   [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
    return out;
}

bool read_number(std::string_view text, std::uint64_t& value) {
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    return error == std::errc() && end == text.data() + text.size();
}

std::string decoded(std::string_view text) {
    std::string out;
    for (std::size_t i = 0; i < text.size(); ++i) {
        std::byte byte{};
        if (text[i] == '%' && i + 2 < text.size() && codec::from_hex(text.substr(i + 1, 2), std::span(&byte, 1))) {
            out += static_cast<char>(byte);
            i += 2;
        } else {
            out += text[i] == '+' ? ' ' : text[i];
        }
    }
    return out;
}

std::string content_range(std::uint64_t first, std::uint64_t last, const std::string& total) {
    return "bytes " + std::to_string(first) + "-" + std::to_string(last) + "/" + total;
}

// Writes the answer's Content-Range anew.
void set_range(http_answer& a, std::uint64_t first, std::uint64_t last, std::uint64_t total) {
    a.set("Content-Range", content_range(first, last, std::to_string(total)));
}

}  // namespace

std::string http_request::header(std::string_view name) const {
    for (const auto& [n, v] : headers)
        if (n == name) return v;
    return {};
}

std::string http_request::parameter(std::string_view name) const {
    for (std::string_view rest = query; !rest.empty();) {
        const std::size_t end = rest.find('&');
        const std::string_view part = rest.substr(0, end);
        const std::size_t equals = part.find('=');
        if (equals != std::string_view::npos && decoded(part.substr(0, equals)) == name)
            return decoded(part.substr(equals + 1));
        rest = end == std::string_view::npos ? "" : rest.substr(end + 1);
    }
    return {};
}

std::optional<std::pair<std::uint64_t, std::uint64_t>> http_request::range(std::uint64_t size) const {
    const std::string value = header("range");
    if (!value.starts_with("bytes=") || value.find(',') != std::string::npos) return std::nullopt;
    const std::string_view text = std::string_view(value).substr(6);
    const std::size_t dash = text.find('-');
    if (dash == std::string_view::npos) return std::nullopt;
    std::uint64_t first = 0;
    std::uint64_t last = 0;
    const bool has_last = dash + 1 < text.size();
    if (has_last && !read_number(text.substr(dash + 1), last)) return std::nullopt;
    if (dash == 0) {
        if (!has_last) return std::nullopt;
        if (last == 0 || size == 0) return std::pair<std::uint64_t, std::uint64_t>(1, 0);
        return std::pair<std::uint64_t, std::uint64_t>(size - std::min(last, size), size - 1);
    }
    if (!read_number(text.substr(0, dash), first) || (has_last && last < first)) return std::nullopt;
    if (first >= size) return std::pair<std::uint64_t, std::uint64_t>(1, 0);
    return std::pair<std::uint64_t, std::uint64_t>(first, has_last ? std::min(last, size - 1) : size - 1);
}

std::optional<http_request> parse_request(std::string_view head) {
    http_request r;
    const std::string_view line = head.substr(0, head.find("\r\n"));
    const std::size_t first = line.find(' ');
    const std::size_t second = line.find(' ', first == std::string_view::npos ? first : first + 1);
    if (second == std::string_view::npos || !line.substr(second + 1).starts_with("HTTP/1.")) return std::nullopt;
    r.method = line.substr(0, first);
    r.target = line.substr(first + 1, second - first - 1);
    if (!r.target.starts_with('/')) return std::nullopt;
    const std::size_t question = r.target.find('?');
    r.path = decoded(std::string_view(r.target).substr(0, question));
    if (question != std::string::npos) r.query = r.target.substr(question + 1);
    for (head.remove_prefix(std::min(line.size() + 2, head.size())); !head.empty();) {
        const std::string_view field = head.substr(0, head.find("\r\n"));
        const std::size_t colon = field.find(':');
        if (colon == std::string_view::npos) return std::nullopt;
        std::string_view value = field.substr(colon + 1);
        while (value.starts_with(' ')) value.remove_prefix(1);
        r.headers.emplace_back(lowered(field.substr(0, colon)), std::string(value));
        head.remove_prefix(std::min(field.size() + 2, head.size()));
    }
    return r;
}

void http_answer::set(std::string_view name, std::string value) {
    remove(name);
    headers.emplace_back(std::string(name), std::move(value));
}

void http_answer::remove(std::string_view name) {
    std::erase_if(headers, [&](const auto& h) { return h.first == name; });
}

http_answer text_answer(int status, std::string text, std::string type) {
    http_answer a;
    a.status = status;
    a.body = content(std::move(text));
    a.length = a.body.size();
    a.set("Content-Type", std::move(type));
    return a;
}

http_answer serve_content(const http_request& request, const content& body, const std::string& type,
                          const std::string& etag) {
    http_answer a;
    a.body = body;
    a.length = body.size();
    a.set("Content-Type", type);
    a.set("Accept-Ranges", "bytes");
    a.set("ETag", etag);
    const auto range = request.range(body.size());
    if (!range) return a;
    if (range->first > range->second) {
        http_answer refused = text_answer(416, "");
        refused.set("Content-Range", "bytes */" + std::to_string(body.size()));
        return refused;
    }
    a.status = 206;
    a.first = range->first;
    a.length = range->second - range->first + 1;
    set_range(a, range->first, range->second, body.size());
    return a;
}

void apply(const fault& f, const http_request& request, http_answer& a) {
    const bool part = a.status == 206;
    const std::uint64_t last = a.first + a.length - 1;
    switch (f.kind) {
        case fault_kind::whole_answer:
            if (!part) break;
            a.status = 200;
            a.first = 0;
            a.length = a.body.size();
            a.remove("Content-Range");
            break;
        case fault_kind::shifted_range:
            if (!part) break;
            a.first = last + 1 < a.body.size() ? a.first + 1 : a.first - 1;
            set_range(a, a.first, a.first + a.length - 1, a.body.size());
            break;
        case fault_kind::lied_range:
            if (part) set_range(a, a.first, last - 1, a.body.size());
            break;
        case fault_kind::no_content_range:
            a.remove("Content-Range");
            break;
        case fault_kind::two_content_ranges:
            if (part)
                a.headers.emplace_back("Content-Range", content_range(a.first, last, std::to_string(a.body.size())));
            break;
        case fault_kind::star_total:
            if (part) a.set("Content-Range", content_range(a.first, last, "*"));
            break;
        case fault_kind::wrong_total:
            if (part) set_range(a, a.first, last, a.body.size() + 1);
            break;
        case fault_kind::multipart:
            a.set("Content-Type", "multipart/byteranges; boundary=3d6b6a416f9b5");
            break;
        case fault_kind::range_refused:
            a = text_answer(416, "");
            a.set("Content-Range", "bytes */7");
            break;
        case fault_kind::short_body:
            a.stop_after = f.amount;
            a.end = body_end::close;
            break;
        case fault_kind::short_length:
            a.length = std::min(a.length, f.amount);
            break;
        case fault_kind::long_body:
            a.extra = f.amount;
            break;
        case fault_kind::long_chunks:
            a.extra = f.amount;
            a.chunked = true;
            break;
        case fault_kind::empty_body:
            a.length = 0;
            break;
        case fault_kind::stall:
            a.stop_after = f.amount;
            a.end = body_end::stall;
            break;
        case fault_kind::reset:
            a.stop_after = f.amount;
            a.end = body_end::reset;
            break;
        case fault_kind::broken_chunks:
            a.chunked = true;
            a.stop_after = f.amount;
            a.end = body_end::close;
            break;
        case fault_kind::drop:
            a.instead = body_end::close;
            break;
        case fault_kind::silence:
            a.instead = body_end::stall;
            break;
        case fault_kind::garbage:
            a.raw = "SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n";
            a.instead = body_end::close;
            break;
        case fault_kind::huge_head:
            a.huge_head = true;
            break;
        case fault_kind::status:
            a = text_answer(static_cast<int>(f.amount), R"({"errors":[{"code":"FAULT","message":"on purpose"}]})");
            if (!f.retry_after.empty()) a.set("Retry-After", f.retry_after);
            if (!f.location.empty()) a.set("Location", f.location);
            break;
        case fault_kind::slow_head:
            a.head_delay += std::chrono::milliseconds(f.amount);
            break;
        case fault_kind::slow_first_byte:
            a.body_delay += std::chrono::milliseconds(f.amount);
            break;
        case fault_kind::changed_etag:
            a.set("ETag", "\"changed\"");
            break;
        case fault_kind::weak_etag:
            a.set("ETag", "W/\"weak\"");
            break;
        case fault_kind::no_etag:
            a.remove("ETag");
            break;
        case fault_kind::gzip:
            a.set("Content-Encoding", "gzip");
            break;
        case fault_kind::wrong_bytes:
            a.flip = true;
            break;
        case fault_kind::chunked:
            a.chunked = true;
            break;
        case fault_kind::interim:
            a.interim = true;
            break;
        case fault_kind::close:
            a.close = true;
            break;
    }
    if (request.method == "HEAD") a.chunked = false;
}

}  // namespace nerofs::test
