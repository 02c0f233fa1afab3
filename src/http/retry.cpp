#include "http/retry.h"

#include <algorithm>

namespace nerofs::http {

std::chrono::milliseconds retry_delay(const retry_policy& policy, unsigned attempt,
                                      std::optional<std::chrono::milliseconds> retry_after, double random) {
    using std::chrono::milliseconds;
    milliseconds ceiling = std::min(policy.first, policy.most);
    for (unsigned i = 0; i < attempt && ceiling < policy.most; ++i) ceiling = std::min(ceiling * 2, policy.most);

    const double spread = std::clamp(random, 0.0, 1.0) * static_cast<double>(ceiling.count()) / 2;
    const milliseconds jitter(static_cast<milliseconds::rep>(spread));
    const milliseconds backoff = ceiling / 2 + jitter;
    if (!retry_after) return backoff;
    const milliseconds floor = std::clamp(*retry_after, milliseconds(0), policy.most_retry_after);
    return std::max(backoff, floor + jitter);
}

}  // namespace nerofs::http
