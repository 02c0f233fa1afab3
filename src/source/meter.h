// Counts what a source does. Internal to this folder.
#pragma once

#include <mutex>
#include <string>

#include "http/request.h"
#include "source/range_source.h"

namespace nerofs::source {

// Any thread.
class meter {
  public:
    void request() { count(&range_source_stats::requests); }
    void redirect() { count(&range_source_stats::redirects); }
    void refresh() { count(&range_source_stats::refreshes); }
    void bytes(std::uint64_t n) { count(&range_source_stats::bytes, n); }
    void retry(const std::string& why);
    // A body of `n` bytes has come.
    void measure(const http::timing& t, std::uint64_t n);
    range_source_stats get() const;

  private:
    void count(std::uint64_t range_source_stats::*what, std::uint64_t n = 1) {
        const std::lock_guard lock(mutex_);
        stats_.*what += n;
    }

    mutable std::mutex mutex_;
    range_source_stats stats_;
};

}  // namespace nerofs::source
