#include "source/meter.h"

namespace nerofs::source {
namespace {

constexpr std::uint64_t least_bytes_for_a_rate = 64 * 1024;

template <class T>
T moved(T average, T latest) {
    return average == T{} ? latest : (average * 7 + latest) / 8;
}

}  // namespace

void meter::retry(const std::string& why) {
    const std::lock_guard lock(mutex_);
    ++stats_.retries;
    stats_.last_failure = why;
}

void meter::measure(const http::timing& t, std::uint64_t n) {
    const std::lock_guard lock(mutex_);
    if (!t.fresh_connection && t.first_byte.count() > 0) stats_.latency = moved(stats_.latency, t.first_byte);
    const auto body = (t.total - t.first_byte).count();
    if (n >= least_bytes_for_a_rate && body > 0)
        stats_.bytes_per_second = moved(stats_.bytes_per_second, n * 1'000'000 / static_cast<std::uint64_t>(body));
}

range_source_stats meter::get() const {
    const std::lock_guard lock(mutex_);
    return stats_;
}

}  // namespace nerofs::source
