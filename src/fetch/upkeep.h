// Makes durable what has come and checks blobs when they are whole: what may wait for the disk and nobody waits for.
#pragma once

#include <condition_variable>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "cache/writer.h"
#include "fetch/blob_fetcher.h"

namespace nerofs::fetch {

// A thread that does it until this goes.
class upkeep {
  public:
    struct blob {
        cache::blob_writer* writer = nullptr;  // both must outlive this
        blob_fetcher* fetcher = nullptr;
        std::string digest;             // empty: nothing to check it against as a whole
        bool checked_by_units = false;  // nothing comes into it that wasn't checked
    };
    explicit upkeep(std::vector<blob> blobs);
    ~upkeep();
    upkeep(const upkeep&) = delete;
    upkeep& operator=(const upkeep&) = delete;

  private:
    bool sleep(std::chrono::milliseconds time);
    void run(const std::vector<blob>& blobs);

    std::mutex mutex_;
    std::condition_variable stop_;
    bool stopping_ = false;
    std::thread thread_;
};

}  // namespace nerofs::fetch
