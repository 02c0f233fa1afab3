// How long to wait before asking again. Pure: the caller brings the random number and keeps the time.
#pragma once

#include <chrono>
#include <optional>

namespace nerofs::http {

struct retry_policy {
    std::chrono::milliseconds first{100};                 // upper end of the first wait
    std::chrono::milliseconds most{10'000};               // upper end of any wait; doubled each time until here
    std::chrono::milliseconds most_retry_after{120'000};  // a server that wants more patience than this gets this
};

// The wait after failure number `attempt` (from 0). `random` in [0, 1) spreads it over the upper half of the back-off,
// so that clients that failed together don't return together. `retry_after`, capped, is a floor, and the same spread is
// added to it.
std::chrono::milliseconds retry_delay(const retry_policy& policy, unsigned attempt,
                                      std::optional<std::chrono::milliseconds> retry_after, double random);

}  // namespace nerofs::http
