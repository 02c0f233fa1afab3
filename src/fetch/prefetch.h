// Fetches early what every use of an image reads: its inodes and directories, in few requests, so that `ls -R` and
// `find` needn't wait once for each block.
#pragma once

#include <atomic>
#include <cstdint>
#include <thread>
#include <vector>

#include "base/result.h"
#include "fetch/blob_fetcher.h"

namespace nerofs::fetch {

// Walks the image's tree by levels on a thread of its own: all inodes of a level, then all of its directories. It asks
// for what is missing as read-ahead, so that whoever waits goes first. An image that can't be walked is left alone.
class metadata_prefetch {
  public:
    // The image begins at `begin` of the blob, which must outlive this.
    metadata_prefetch(blob_fetcher& blob, std::uint64_t begin);
    ~metadata_prefetch();
    metadata_prefetch(const metadata_prefetch&) = delete;
    metadata_prefetch& operator=(const metadata_prefetch&) = delete;

    bool finished() const { return finished_; }

  private:
    status walk();

    blob_fetcher& blob_;
    const std::uint64_t begin_;
    std::atomic<bool> stopping_{false};
    std::atomic<bool> finished_{false};
    std::thread thread_;
};

}  // namespace nerofs::fetch
