// The verdict on the head of an answer: whether its body may be used, and as what. Pure.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

#include "http/request.h"

namespace nerofs::http {

enum class body_use : std::uint8_t {
    bytes,    // the blob's, for the sink or response::body
    discard,  // of a redirect or an error: read for the sake of the connection
    none,     // there is none, or it must not be read: the connection is given up
};

struct verdict {
    body_use use = body_use::none;
    response accepted;                    // use bytes, or no refusal
    std::optional<failure> refusal;       // `why.text` without the URL
    std::uint64_t first = 0;              // use bytes: where the body begins in the blob ...
    std::optional<std::uint64_t> length;  // ... and how long it must be, where that is known
};

// The range rule: the answer to a request with a range is used only if it is a 206, of one part, not encoded, with the
// very Content-Range asked for (cut at the end of the blob where its size wasn't known), a total, and the known size
// and ETag.
verdict judge(const request& asked, int status, const fields& headers, std::chrono::system_clock::time_point now);

}  // namespace nerofs::http
