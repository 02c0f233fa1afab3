// What is known of the way to a source: how long until the first byte, and how many bytes a second come on all
// connections together. Pure; the time is given in.
#pragma once

#include <chrono>
#include <cstdint>

namespace nerofs::cache {

using plan_time = std::chrono::steady_clock::time_point;

// One for each source, shared by the planners of its blobs. One thread at a time.
class link_model {
  public:
    // The bytes that came before now, all requests together. Kept by whoever begins a body; see body_came.
    struct mark {
        std::uint64_t delivered = 0;
        plan_time at;
    };

    // Bytes came, on any connection.
    void delivered(std::uint64_t bytes) { delivered_ += bytes; }
    // The first byte of a request came this long after it was sent. The mark is for body_came.
    mark first_byte_came(std::chrono::nanoseconds after, plan_time now);
    // A request's body of `bytes` is complete: between the mark and now, everything that came measures the bandwidth.
    void body_came(const mark& begin, std::uint64_t bytes, plan_time now);

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
    double bytes_per_second_ = 25e6;
    bool latency_known_ = false;
    bool bandwidth_known_ = false;
    std::uint64_t delivered_ = 0;
};

}  // namespace nerofs::cache
