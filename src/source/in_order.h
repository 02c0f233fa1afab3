// A long run of a blob, front to back, with several requests in flight.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "base/result.h"
#include "source/byte_source.h"

namespace nerofs::source {

struct in_order_options {
    std::uint64_t request_bytes = 4u << 20;
    unsigned requests = 3;                // in flight; so many times request_bytes are kept in memory
    std::chrono::milliseconds silence{};  // nothing came for so long: kind timeout
};

// Hands the blob's bytes in [begin, end) to `each`, in order and on the caller's thread, and returns when all were
// taken or one of them failed. Not on the source's thread. Errors: the source's, timeout, those of `each`.
status read_in_order(byte_source& from, std::uint64_t begin, std::uint64_t end, const in_order_options& options,
                     const std::function<status(std::span<const std::byte>)>& each);

// The same, into memory.
result<std::vector<std::byte>> read_range(byte_source& from, std::uint64_t begin, std::uint64_t end,
                                          std::chrono::milliseconds silence);

}  // namespace nerofs::source
