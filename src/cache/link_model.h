// What is known of the way to a source: how long until the first byte, and how many bytes a second come on all
// connections together. Pure; the time is given in.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>

namespace nerofs::cache {

using plan_time = std::chrono::steady_clock::time_point;

// One for each source, shared by the planners of its blobs. One thread at a time.
class link_model {
  public:
    // A moment, and the bytes that came before it, all requests together.
    struct mark {
        std::uint64_t delivered = 0;
        plan_time at;
    };
    // What is to be remembered of a request.
    struct request {
        mark sent;
        bool alone = false;         // nothing else was under way then
        std::optional<mark> first;  // its first bytes are here
    };

    // A request is sent.
    request sent(bool alone, plan_time now) const { return {{delivered_, now}, alone, std::nullopt}; }
    // Bytes of its body came.
    void arrived(request& r, std::uint64_t bytes, plan_time now);
    // Its body of `bytes` is complete. Everything that came meanwhile measures the bandwidth.
    void finished(const request& r, std::uint64_t bytes, plan_time now);

    std::chrono::nanoseconds latency() const { return latency_; }
    bool bandwidth_known() const { return bandwidth_known_; }
    std::uint64_t delivered() const { return delivered_; }
    double bytes_per_second() const { return bytes_per_second_; }
    // Bytes that the link could have brought while one round trip is waited for.
    std::uint64_t bytes_per_round_trip() const { return bytes_in(latency_); }
    std::uint64_t bytes_in(std::chrono::nanoseconds time) const {
        return static_cast<std::uint64_t>(bytes_per_second_ * std::chrono::duration<double>(time).count());
    }

  private:
    // Before anything is known: some place on the internet.
    std::chrono::nanoseconds latency_ = std::chrono::milliseconds(20);
    std::chrono::nanoseconds least_seen_{0};
    double bytes_per_second_ = 25e6;
    bool latency_known_ = false;
    bool bandwidth_known_ = false;
    std::uint64_t delivered_ = 0;
};

}  // namespace nerofs::cache
