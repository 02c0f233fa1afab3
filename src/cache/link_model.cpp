#include "cache/link_model.h"

#include <algorithm>

namespace nerofs::cache {
namespace {

using namespace std::chrono_literals;

// Shorter than that, a body says more about the clock than about the link.
constexpr std::chrono::nanoseconds shortest_body = 200us;
// Smaller ones can lie in a buffer as a whole.
constexpr std::uint64_t large_body = 512 * 1024;
// Smaller ones count in proportion.
constexpr std::uint64_t full_weight = 256 * 1024;
// How much a worse sample counts. A better one counts at once: nothing is faster than the link.
constexpr double forget = 0.15;
constexpr double least_bytes_per_second = 16e3;
constexpr std::chrono::nanoseconds least_latency = 20us;

}  // namespace

void link_model::arrived(request& r, std::uint64_t bytes, plan_time now) {
    delivered_ += bytes;
    if (r.first) return;
    r.first = {delivered_, now};
    const auto after = std::max<std::chrono::nanoseconds>(now - r.sent.at, least_latency);
    if (!latency_known_ || after < latency_)
        latency_ = after;
    else
        latency_ += std::chrono::nanoseconds(
            static_cast<std::int64_t>(forget * static_cast<double>((after - latency_).count())));
    least_seen_ = latency_known_ ? std::min(least_seen_, after) : after;
    latency_known_ = true;
}

void link_model::finished(const request& r, std::uint64_t bytes, plan_time now) {
    if (!r.first || bytes == 0) return;
    // A large body is measured from behind what came first, which may have lain in a buffer. A small one may have come
    // in one piece: it took the time since it was asked for, but for the latency if nothing else came in that.
    mark begin = *r.first;
    if (bytes < large_body) {
        begin = r.sent;
        if (r.alone) begin.at += least_seen_;
        if (now - begin.at < shortest_body) return;
    }
    if (delivered_ == begin.delivered) return;
    const auto took = std::max<std::chrono::nanoseconds>(now - begin.at, shortest_body);
    const double sample =
        std::max(static_cast<double>(delivered_ - begin.delivered) / std::chrono::duration<double>(took).count(),
                 least_bytes_per_second);
    const double weight = std::min(1.0, static_cast<double>(bytes) / static_cast<double>(full_weight));
    if (!bandwidth_known_)
        bytes_per_second_ = sample;
    else if (sample > bytes_per_second_)
        bytes_per_second_ += weight * (sample - bytes_per_second_);
    else
        bytes_per_second_ += weight * forget * (sample - bytes_per_second_);
    bandwidth_known_ = true;
}

}  // namespace nerofs::cache
