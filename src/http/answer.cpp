#include "http/answer.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "http/fields.h"

namespace nerofs::http {
namespace {

failure refuse(error_kind kind, failure_cause cause, int status, std::string why) {
    failure f;
    f.why = make_error(kind, std::move(why));
    f.cause = cause;
    f.status = status;
    return f;
}

// Encodings other than identity. Nobody asked for one.
std::string encoding_of(const fields& headers) {
    for (const std::string& value : headers.find_all("Content-Encoding"))
        if (!value.empty() && !equal_ignoring_case(value, "identity")) return value.substr(0, 64);
    return {};
}

std::optional<std::uint64_t> content_length(const fields& headers) {
    const std::string* value = headers.find("Content-Length");
    return value ? parse_number(*value) : std::nullopt;
}

error_kind kind_of(int status) {
    switch (status) {
        case 401:
        case 403:
            return error_kind::auth;
        case 404:
        case 410:
            return error_kind::not_found;
        case 408:
        case 421:
        case 425:
        case 429:
            return error_kind::retryable;
        case 416:
            return error_kind::corrupt;
        case 501:
        case 505:
            return error_kind::permanent;
        default:
            return status >= 500 ? error_kind::retryable : error_kind::permanent;
    }
}

std::string_view words_of(int status) {
    switch (status) {
        case 400:
            return " (bad request)";
        case 401:
            return " (credentials are missing or were not accepted)";
        case 403:
            return " (access denied)";
        case 404:
            return " (not found)";
        case 410:
            return " (gone)";
        case 416:
            return " (the range lies outside of what the server has)";
        case 429:
            return " (too many requests)";
        case 500:
            return " (internal error of the server)";
        case 502:
            return " (bad gateway)";
        case 503:
            return " (service unavailable)";
        case 504:
            return " (gateway timeout)";
        default:
            return "";
    }
}

failure failed_status(int status, const fields& headers, std::chrono::system_clock::time_point now) {
    failure f = refuse(kind_of(status), failure_cause::status, status,
                       fmt::format("the server answered {}{}", status, words_of(status)));
    if (status == 401 || status == 403) f.challenges = headers.find_all("WWW-Authenticate");
    if (const std::string* value = headers.find("Retry-After")) f.retry_after = parse_retry_after(*value, now);
    if (const std::string* value = headers.find("Content-Range"); value && status == 416)
        if (const auto range = parse_content_range(*value)) f.total = range->total;
    return f;
}

// Whether the blob is still the one that is known.
std::optional<failure> changed(const known_blob& known, const response& answer) {
    if (known.size && answer.total && *known.size != *answer.total)
        return refuse(error_kind::corrupt, failure_cause::changed, answer.status,
                      fmt::format("changed on the server: its size was {} and is {}", *known.size, *answer.total));
    if (known.etag.empty() || known.etag == answer.etag) return std::nullopt;
    const std::string now_is = answer.etag.empty() ? "missing or weak" : answer.etag.substr(0, 80);
    return refuse(error_kind::corrupt, failure_cause::changed, answer.status,
                  fmt::format("changed on the server: its ETag was {} and is {}", known.etag.substr(0, 80), now_is));
}

std::optional<failure> check_part(const request& asked, verdict& v, const fields& headers) {
    const auto wrong = [](std::string why) {
        return refuse(error_kind::corrupt, failure_cause::refused, 206, std::move(why));
    };
    if (const std::string* type = headers.find("Content-Type"))
        if (type->size() >= 10 && equal_ignoring_case(std::string_view(*type).substr(0, 10), "multipart/"))
            return wrong("several parts in answer to one range");
    const auto values = headers.find_all("Content-Range");
    if (values.size() != 1)
        return wrong(values.empty() ? "206 without Content-Range" : "206 with several Content-Range");
    const auto range = parse_content_range(values.front());
    if (!range || !range->part) return wrong("206 with a malformed Content-Range");
    if (!range->total) return wrong("206 with a Content-Range without total");
    v.accepted.total = range->total;
    if (auto f = changed(asked.known, v.accepted)) return f;

    const std::uint64_t last = std::min(asked.range->last, *range->total - 1);
    if (range->part->first != asked.range->first || range->part->last != last)
        return wrong(fmt::format("asked for bytes {}-{} and got {}-{}", asked.range->first, last, range->part->first,
                                 range->part->last));
    v.first = range->part->first;
    v.length = range->part->last - range->part->first + 1;
    const auto length = content_length(headers);
    // Also when it is shorter: an answer that contradicts itself may be wrong in other ways, too.
    if (length && *length != *v.length)
        return wrong(fmt::format("the body of {} bytes isn't as long as the range of {}", *length, *v.length));
    return std::nullopt;
}

std::optional<failure> check_whole(const request& asked, verdict& v, const fields& headers) {
    const auto length = content_length(headers);
    if (headers.count("Content-Length") > 0 && !length)
        return refuse(error_kind::corrupt, failure_cause::refused, v.accepted.status, "a malformed Content-Length");
    v.accepted.total = length;
    if (asked.sink) {
        if (auto f = changed(asked.known, v.accepted)) return f;
        v.length = asked.known.size ? asked.known.size : length;
    } else if (length && *length > asked.most_body_bytes && asked.verb != method::head) {
        return refuse(error_kind::corrupt, failure_cause::refused, v.accepted.status,
                      fmt::format("the answer of {} bytes is larger than {}", *length, asked.most_body_bytes));
    } else {
        v.length = length;
    }
    return std::nullopt;
}

}  // namespace

verdict judge(const request& asked, int status, const fields& headers, std::chrono::system_clock::time_point now) {
    verdict v;
    v.accepted.status = status;
    v.accepted.headers = headers;
    if (const std::string* etag = headers.find("ETag"); etag && headers.count("ETag") == 1)
        v.accepted.etag = strong_etag(*etag);

    if (status >= 400) {
        v.refusal = failed_status(status, headers, now);
        v.use = body_use::discard;
        return v;
    }
    if (status >= 300) {
        v.use = body_use::discard;
        const bool redirect = status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
        const std::string* location = headers.find("Location");
        if (!redirect || !location) {
            v.refusal = refuse(error_kind::permanent, failure_cause::status, status,
                               fmt::format("the server answered {}{}", status, redirect ? " without a Location" : ""));
            return v;
        }
        auto target = resolve(asked.target, *location);
        if (target) {
            v.accepted.location = std::move(*target);
        } else {
            v.refusal = refuse(error_kind::corrupt, failure_cause::refused, status, target.error().text);
        }
        return v;
    }
    if (status < 200) {
        v.refusal =
            refuse(error_kind::corrupt, failure_cause::refused, status, fmt::format("the server answered {}", status));
        return v;
    }

    const bool blob = asked.range || asked.sink;
    if (const std::string encoding = encoding_of(headers); !encoding.empty()) {
        v.refusal = refuse(error_kind::corrupt, failure_cause::refused, status,
                           fmt::format("the answer is encoded though nothing asked for it ({})",
                                       encoding.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                                                  "0123456789-, ") == std::string::npos
                                           ? encoding
                                           : "unknown"));
    } else if (asked.range && status == 206) {
        v.refusal = check_part(asked, v, headers);
    } else if (asked.range) {
        v.refusal = refuse(error_kind::permanent, failure_cause::refused, status,
                           fmt::format("the server answered a range with {}: it gives only the whole", status));
        v.refusal->total = status == 200 ? content_length(headers) : std::nullopt;
    } else if (status == 206 || (blob && status != 200)) {
        v.refusal = refuse(error_kind::corrupt, failure_cause::refused, status,
                           fmt::format("the server answered {} though the whole was asked for", status));
    } else {
        v.refusal = check_whole(asked, v, headers);
    }
    if (!v.refusal) v.use = asked.verb == method::head ? body_use::none : body_use::bytes;
    return v;
}

}  // namespace nerofs::http
