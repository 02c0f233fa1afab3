#include "http/url.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <utility>
#include <vector>

namespace nerofs::http {
namespace {

char lower(char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

bool is_hex(char c) {
    return is_digit(c) || (lower(c) >= 'a' && lower(c) <= 'f');
}

bool is_alpha(char c) {
    return lower(c) >= 'a' && lower(c) <= 'z';
}

std::string lowered(std::string_view text) {
    std::string out(text);
    std::transform(out.begin(), out.end(), out.begin(), lower);
    return out;
}

// The scheme in front of a ':', or nothing: a reference without one is relative.
std::string_view scheme_of(std::string_view text) {
    if (text.empty() || !is_alpha(text.front())) return {};
    const std::size_t colon = text.find_first_of(":/?#");
    if (colon == std::string_view::npos || text[colon] != ':') return {};
    const std::string_view scheme = text.substr(0, colon);
    const bool valid = std::all_of(scheme.begin(), scheme.end(), [](char c) {
        return is_alpha(c) || is_digit(c) || c == '+' || c == '-' || c == '.';
    });
    return valid ? scheme : std::string_view();
}

bool valid_name(std::string_view host) {
    if (host.empty() || host.size() > 253 || host.front() == '.' || host.front() == '-') return false;
    return std::all_of(host.begin(), host.end(),
                       [](char c) { return is_alpha(c) || is_digit(c) || c == '.' || c == '-' || c == '_'; });
}

// A name that ends in a number is an address in one of inet_aton's spellings; only the dotted one is taken.
bool valid_if_number(std::string_view host) {
    const std::string_view last = host.substr(host.rfind('.') + 1);  // npos + 1 is 0
    if (last.empty() || !is_digit(last.front())) return true;
    if (last.size() > 1 && lower(last[1]) == 'x') return false;
    if (!std::all_of(last.begin(), last.end(), is_digit)) return true;
    int parts = 0;
    for (std::string_view rest = host; !rest.empty() || parts == 0;) {
        const std::size_t dot = rest.find('.');
        const std::string_view part = rest.substr(0, dot);
        unsigned value = 0;
        const auto [end, error] = std::from_chars(part.data(), part.data() + part.size(), value);
        if (error != std::errc() || end != part.data() + part.size() || value > 255) return false;
        if (part.size() > 1 && part.front() == '0') return false;
        ++parts;
        rest = dot == std::string_view::npos ? std::string_view() : rest.substr(dot + 1);
    }
    return parts == 4 && host.back() != '.';
}

bool valid_ipv6(std::string_view host) {
    if (host.size() < 4 || host.size() > 47 || host.front() != '[' || host.back() != ']') return false;
    const std::string_view inside = host.substr(1, host.size() - 2);
    return inside.find(':') != std::string_view::npos &&
           std::all_of(inside.begin(), inside.end(), [](char c) { return is_hex(c) || c == ':' || c == '.'; });
}

bool valid_target(std::string_view target) {
    for (std::size_t i = 0; i < target.size(); ++i) {
        const char c = target[i];
        if (c <= ' ' || c == 0x7f || static_cast<unsigned char>(c) >= 0x80) return false;
        if (c == '"' || c == '<' || c == '>' || c == '\\' || c == '^' || c == '`' || c == '#') return false;
        if (c == '%' && (i + 2 >= target.size() || !is_hex(target[i + 1]) || !is_hex(target[i + 2]))) return false;
    }
    return true;
}

std::string_view without_fragment(std::string_view text) {
    return text.substr(0, text.find('#'));
}

// RFC 3986 section 5.2.4, on a path that begins with '/'.
std::string without_dot_segments(std::string_view path) {
    std::vector<std::string_view> kept;
    bool directory = true;  // what was read last ends in '/'
    for (std::string_view rest = path.substr(1);;) {
        const std::size_t slash = rest.find('/');
        const bool last = slash == std::string_view::npos;
        const std::string_view segment = rest.substr(0, slash);
        if (segment == "..") {
            if (!kept.empty()) kept.pop_back();
            directory = true;
        } else if (segment == ".") {
            directory = true;
        } else {
            kept.push_back(segment);
            directory = false;
        }
        if (last) break;
        rest = rest.substr(slash + 1);
    }
    std::string out;
    for (const std::string_view segment : kept) out.append("/").append(segment);
    if (directory) out += '/';
    return out;
}

// Path and query with the dots of the path resolved.
std::string tidy_target(std::string_view target) {
    const std::size_t query = std::min(target.find('?'), target.size());
    return without_dot_segments(target.substr(0, query)).append(target.substr(query));
}

// Servers write blanks and UTF-8 into Location; they can only mean their encoding.
std::string encoded(std::string_view reference) {
    std::string out;
    for (const char c : reference) {
        if (c == ' ' || c == '"' || c == '<' || c == '>' || c == '\\' || c == '^' || c == '`' ||
            static_cast<unsigned char>(c) >= 0x80) {
            out += fmt::format("%{:02X}", static_cast<unsigned char>(c));
        } else {
            out += c;
        }
    }
    return out;
}

tl::unexpected<error> refused(std::string_view why) {
    return fail(error_kind::usage, std::string(why));
}

}  // namespace

std::string url::origin() const {
    return fmt::format("{}://{}:{}", secure ? "https" : "http", host, port);
}

std::string url::text() const {
    std::string out = secure ? "https://" : "http://";
    out += host;
    if (port != (secure ? 443 : 80)) out += fmt::format(":{}", port);
    return out + target;
}

std::string url::printable() const {
    url bare = *this;
    const std::size_t query = target.find('?');
    if (query == std::string::npos) return bare.text();
    bare.target.resize(query);
    return bare.text() + "?...";
}

result<url> parse_url(std::string_view text) {
    if (text.size() > max_url_bytes) return refused("the URL is too long");
    const std::string_view scheme = scheme_of(text);
    url u;
    if (lowered(scheme) == "https") {
        u.secure = true;
    } else if (lowered(scheme) == "http") {
        u.secure = false;
        u.port = 80;
    } else {
        return refused("not an http or https URL");
    }
    text.remove_prefix(scheme.size());
    if (!text.starts_with("://")) return refused("a URL needs two slashes in front of its host");
    text = without_fragment(text.substr(3));

    const std::size_t authority_end = std::min(text.find_first_of("/?"), text.size());
    const std::string_view authority = text.substr(0, authority_end);
    std::string_view target = text.substr(authority_end);
    if (authority.find('@') != std::string_view::npos)
        return refused("a URL must not carry a user or a password; give credentials by their own option");

    const std::size_t host_end = authority.starts_with('[') ? authority.find(']') : authority.find(':');
    const std::size_t colon =
        authority.starts_with('[') && host_end != std::string_view::npos ? host_end + 1 : host_end;
    u.host = lowered(authority.substr(0, colon));
    if (colon < authority.size()) {
        const std::string_view port = authority.substr(colon + 1);
        const auto [end, error] = std::from_chars(port.data(), port.data() + port.size(), u.port);
        if (authority[colon] != ':' || port.empty() || error != std::errc() || end != port.data() + port.size() ||
            u.port == 0)
            return refused("the port of the URL is no number from 1 to 65535");
    }
    if (u.host.starts_with('[') ? !valid_ipv6(u.host) : !valid_name(u.host) || !valid_if_number(u.host))
        return refused("the URL has no valid host name or address");

    if (!valid_target(target)) return refused("the path of the URL has bytes that must be percent-encoded");
    u.target = target.starts_with('/') ? tidy_target(target) : tidy_target("/" + std::string(target));
    return u;
}

result<url> resolve(const url& base, std::string_view reference) {
    const auto parsed = [&]() -> result<url> {
        if (reference.size() > max_url_bytes) return refused("the URL is too long");
        const std::string text = encoded(without_fragment(reference));
        if (!scheme_of(text).empty()) return parse_url(text);
        if (text.starts_with("//")) return parse_url((base.secure ? "https:" : "http:") + text);
        url u = base;
        const std::string_view path = std::string_view(base.target).substr(0, base.target.find('?'));
        if (text.starts_with('/')) {
            u.target = text;
        } else if (text.starts_with('?')) {
            u.target = std::string(path) + text;
        } else if (!text.empty()) {
            u.target = std::string(path.substr(0, path.rfind('/') + 1)) + text;
        }
        return parse_url(u.text());
    }();
    if (!parsed) return fail(error_kind::corrupt, "the answer's Location can't be used: " + parsed.error().text);
    return parsed;
}

bool is_loopback(const url& u) {
    if (u.host == "localhost" || u.host == "[::1]") return true;
    // A host that begins so and got through parse_url may still be a name, "127.example.net".
    return u.host.starts_with("127.") &&
           std::all_of(u.host.begin(), u.host.end(), [](char c) { return is_digit(c) || c == '.'; });
}

}  // namespace nerofs::http
