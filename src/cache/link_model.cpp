#include "cache/link_model.h"

#include <algorithm>

namespace nerofs::cache {
namespace {

using namespace std::chrono_literals;

// Shorter than that, a body says more about the clock than about the link.
constexpr std::chrono::nanoseconds shortest_body = 200us;
// How much a worse sample counts. A better one counts at once: nothing is faster than the link.
constexpr double forget = 0.15;
constexpr double least_bytes_per_second = 16e3;
constexpr std::chrono::nanoseconds least_latency = 20us;

}  // namespace

link_model::mark link_model::first_byte_came(std::chrono::nanoseconds after, plan_time now) {
    after = std::max(after, least_latency);
    if (!latency_known_ || after < latency_)
        latency_ = after;
    else
        latency_ += std::chrono::nanoseconds(
            static_cast<std::int64_t>(forget * static_cast<double>((after - latency_).count())));
    latency_known_ = true;
    return {delivered_, now};
}

void link_model::body_came(const mark& begin, std::uint64_t bytes, plan_time now) {
    const auto took = std::max<std::chrono::nanoseconds>(now - begin.at, shortest_body);
    const double sample = std::max(static_cast<double>(std::max(delivered_ - begin.delivered, bytes)) /
                                       std::chrono::duration<double>(took).count(),
                                   least_bytes_per_second);
    // A small body that comes with the first byte can be faster than the link (it lay in a buffer), or slower (it
    // never filled it): it counts for less.
    const double weight = std::min(1.0, static_cast<double>(bytes) / (256.0 * 1024));
    if (!bandwidth_known_)
        bytes_per_second_ = sample;
    else if (sample > bytes_per_second_)
        bytes_per_second_ += weight * (sample - bytes_per_second_);
    else
        bytes_per_second_ += weight * forget * (sample - bytes_per_second_);
    bandwidth_known_ = true;
}

}  // namespace nerofs::cache
