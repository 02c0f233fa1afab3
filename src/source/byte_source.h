// Where the bytes of a blob come from, whatever it is: read a range, some time later it is there.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>

#include "base/result.h"
#include "http/request.h"

namespace nerofs::source {

// A piece of a blob to be read.
struct read_request {
    std::uint64_t offset = 0;
    std::uint64_t length = 0;
    // Gets the bytes as they come, in order and each once; must not block. Its error ends the read.
    http::byte_sink sink;
    http::time_point deadline = http::time_point::max();
    http::priority priority = http::priority::demand;
};

// What became of a read: its error, and how far it came in any case.
struct read_result {
    status how;
    std::uint64_t delivered = 0;  // bytes that the sink has taken
    std::uint32_t requests = 0;   // what it took
};

class byte_source {
  public:
    using id = std::uint64_t;
    using completion = std::function<void(read_result)>;

    virtual ~byte_source() = default;

    // Starts a read; doesn't block. Sink and `done` are called on a thread of the source's, never from within read, and
    // must not block; `done` exactly once, and no sink after it.
    virtual id read(read_request what, completion done) = 0;

    // The read ends soon, with kind cancelled. One that is over is ignored.
    virtual void cancel(id which) = 0;
};

}  // namespace nerofs::source
