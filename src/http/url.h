// http and https URLs, in the strict form that we and libcurl are sure to read alike.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"

namespace nerofs::http {

constexpr std::size_t max_url_bytes = 8192;

// An absolute URL without user, password and fragment. `host` is in lower case; an IPv6 address is in brackets.
struct url {
    bool secure = true;  // https
    std::string host;
    std::uint16_t port = 443;
    std::string target = "/";  // path and query as they were written; begins with '/'

    // The whole, with the port only where it isn't the scheme's own.
    std::string text() const;
    // "https://host:port": what keeps credentials together.
    std::string origin() const;
    // For messages: without the query, which is where signatures and tokens are.
    std::string printable() const;

    friend bool operator==(const url&, const url&) = default;
};

// Kind usage when the text is no http or https URL as above: another scheme, a user or password, no host, bytes that
// have to be percent-encoded, a host outside of [a-z0-9._-] and IPv6 literals, longer than max_url_bytes. The message
// doesn't repeat the text.
result<url> parse_url(std::string_view text);

// What a Location `reference` means in an answer to `base` (RFC 3986 section 5.2; a fragment is dropped, blanks are
// encoded). The same errors as parse_url, but of kind corrupt: a server said it.
result<url> resolve(const url& base, std::string_view reference);

inline bool same_origin(const url& a, const url& b) {
    return a.secure == b.secure && a.host == b.host && a.port == b.port;
}

// localhost, 127.0.0.0/8 in dotted form, [::1]: plain http to these leaves nobody's machine.
bool is_loopback(const url& u);

}  // namespace nerofs::http
