// One request as the origin read it, and the answer it means to send. Internal to the origin.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "support/origin/content.h"
#include "support/origin/fault.h"

namespace nerofs::test {

using header_list = std::vector<std::pair<std::string, std::string>>;

struct http_request {
    std::string method;
    std::string target;
    std::string path;
    std::string query;
    header_list headers;  // names in lower case
    std::string body;
    bool storage = false;

    std::string header(std::string_view name) const;
    std::string parameter(std::string_view name) const;  // of the query, decoded
    // Of "Range: bytes=...", for a body of that size: first and last. nullopt: no range, or one to be ignored.
    // first > last: outside.
    std::optional<std::pair<std::uint64_t, std::uint64_t>> range(std::uint64_t size) const;
};

// Parses a head without its last empty line. nullopt: not HTTP.
std::optional<http_request> parse_request(std::string_view head);

enum class body_end : std::uint8_t { complete, close, stall, reset };

struct http_answer {
    int status = 200;
    header_list headers;
    content body;
    std::uint64_t first = 0;  // of the body ...
    std::uint64_t length = 0;
    std::uint64_t extra = 0;  // so many bytes of nonsense behind it
    std::optional<std::uint64_t> said_length;
    std::optional<std::uint64_t> stop_after;  // bytes of the body, and then `end`
    body_end end = body_end::complete;
    bool chunked = false;
    bool close = false;
    bool flip = false;
    bool interim = false;
    bool huge_head = false;
    std::optional<body_end> instead;  // no answer at all
    std::string raw;                  // sent as it is, instead
    std::chrono::milliseconds head_delay{0};
    std::chrono::milliseconds body_delay{0};

    void set(std::string_view name, std::string value);
    void remove(std::string_view name);
};

http_answer text_answer(int status, std::string text, std::string type = "application/json");

// The answer that a right server gives for a resource: ranges, 416, ETag.
http_answer serve_content(const http_request& request, const content& body, const std::string& type,
                          const std::string& etag);

void apply(const fault& f, const http_request& request, http_answer& answer);

}  // namespace nerofs::test
