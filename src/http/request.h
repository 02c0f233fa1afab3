// What is asked of a server, and what came of it.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "http/fields.h"
#include "http/url.h"

namespace nerofs::http {

using time_point = std::chrono::steady_clock::time_point;

enum class method : std::uint8_t { get, head, post, put };

constexpr std::string_view name_of(method verb) {
    constexpr std::string_view names[] = {"GET", "HEAD", "POST", "PUT"};
    return names[static_cast<std::size_t>(verb)];
}

// Both ends are included, as in the header.
struct byte_range {
    std::uint64_t first = 0;
    std::uint64_t last = 0;
    std::uint64_t length() const { return last - first + 1; }
    friend bool operator==(const byte_range&, const byte_range&) = default;
};

// What an answer has to agree with.
struct known_blob {
    std::optional<std::uint64_t> size;
    std::string etag{};  // strong, with its quotes; empty: any will do
};

// At least `bytes` must come or be taken (of a PUT) in each `within`, from the moment the request is sent.
struct progress_limit {
    std::uint64_t bytes = 1;
    std::chrono::milliseconds within{20'000};
};

// Who goes first when all connections to a host are in use.
enum class priority : std::uint8_t { demand, ahead, background };

// Takes the bytes of a body as they come, in order and without gaps: `offset` is where they lie in the blob. Called on
// the client's thread; must not block. An error ends the transfer and becomes its result.
using byte_sink = std::function<status(std::uint64_t offset, std::span<const std::byte> bytes)>;

struct request {
    method verb = method::get;
    url target;
    fields headers;                           // none that the client sets itself: Range, Accept-Encoding, Host
    fields secrets;                           // sent like `headers`, never shown: Authorization
    std::string form;                         // the body of a POST, application/x-www-form-urlencoded; never shown
    std::shared_ptr<const std::string> body;  // of a PUT
    std::optional<byte_range> range;
    known_blob known;  // checked only on answers with a blob's bytes (206, and 200 into a sink)
    byte_sink sink;    // bytes of a 200 or 206 go here; without it they become response::body
    std::size_t most_body_bytes = 4 * 1024 * 1024;  // of response::body; more is kind corrupt
    time_point deadline = time_point::max();
    progress_limit progress;
    http::priority priority = http::priority::demand;
};

struct timing {
    std::chrono::microseconds waited{0};      // for a connection to be free
    std::chrono::microseconds first_byte{0};  // from the start on a connection (its setup included) to the first byte
    std::chrono::microseconds total{0};       // from the start on a connection to the end
    bool fresh_connection = false;
};

// An answer of 2xx or 3xx (redirects aren't followed).
struct response {
    int status = 0;
    fields headers;
    std::string body;                    // without a sink
    std::uint64_t delivered = 0;         // bytes the sink has taken
    std::optional<std::uint64_t> total;  // the blob's size, from Content-Range, or Content-Length of a whole answer
    std::string etag;                    // strong, or empty
    std::optional<url> location;         // of a redirect: absolute
    http::timing timing;
};

// Where a request failed, finer than error::kind.
enum class failure_cause : std::uint8_t {
    transport,   // no connection, a broken or silent one, TLS
    status,      // an answer of 4xx, 5xx
    refused,     // an answer that isn't what was asked for: 200 to a range, a wrong Content-Range, an encoding
    changed,     // another size or ETag than known
    short_body,  // the answer ended early
    caller,      // cancelled, past the deadline, a sink's error, a request that can't be sent
};

struct failure {
    // retryable; permanent; auth (401, 403); not_found (404, 410); timeout (the deadline); cancelled; corrupt; usage;
    // or what the sink said. Text: "GET <url without query>: why". Never holds a secret.
    error why;
    failure_cause cause = failure_cause::transport;
    int status = 0;                                   // 0: there was no answer
    std::optional<std::chrono::seconds> retry_after;  // the server's wish
    std::vector<std::string> challenges;              // the WWW-Authenticate values of a 401 or 403
    std::string body;                                 // the first bytes of an error's body (at most 4 KiB)
    std::optional<std::uint64_t> total;               // the size that a refused answer (200, 416) told
    std::uint64_t delivered = 0;                      // bytes the sink has taken: where to go on
    http::timing timing;
};

using outcome = tl::expected<response, failure>;

// Called once for each request, on the client's thread; must not block.
using completion = std::function<void(outcome)>;

}  // namespace nerofs::http
