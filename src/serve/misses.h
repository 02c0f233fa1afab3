// Reads that wait for bytes: what is missing is told to the fetcher, and who waits is woken when something came.
//
// A thread that serves requests has a `waiter`. When it finds bytes missing it adds the read there and goes on; while
// its waiter isn't empty it polls the waiter's event beside its own descriptor.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <map>
#include <mutex>
#include <thread>
#include <unordered_set>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"
#include "cache/presence/miss_messages.h"
#include "os/channel.h"
#include "serve/image_map.h"

namespace nerofs::serve {

class waiter;

// One for each server process. Any thread, but where it says otherwise.
class miss_desk {
  public:
    using clock = std::chrono::steady_clock;

    // `blobs` must outlive the desk. A read that has waited for `patience` fails, whatever the fetcher does.
    miss_desk(std::vector<const blob_view*> blobs, std::chrono::milliseconds patience);
    ~miss_desk();

    // Starts a thread for each blob that wakes the waiters when bytes came.
    status start();

    // Main thread: a fetcher is there (again): it is told all that is waited for. No channel: it is gone.
    void set_fetcher(os::channel to);
    fd_ref fetcher() const { return fetcher_.fd(); }
    // Main thread: the fetcher has sent something, or hung up (false).
    bool on_fetcher();

    std::uint64_t waiting_reads() const;

  private:
    friend class waiter;
    struct watched {
        const blob_view* blob = nullptr;
        std::thread thread;
    };

    std::uint64_t ask(const image_map& map, std::uint64_t offset, std::uint64_t length);
    void flush();
    bool has_failed(std::uint64_t id) const;
    void forget(std::uint64_t id);
    void arm(waiter& w);
    void disarm(waiter& w);
    void watch(const blob_view& blob);
    void send_unsent();

    const std::chrono::milliseconds patience_;
    mutable std::mutex mutex_;
    os::channel fetcher_;
    std::uint64_t next_id_ = 1;
    std::multimap<std::uint64_t, cache::missing_piece> asked_;  // what is waited for
    std::vector<cache::missing_piece> unsent_;
    std::unordered_set<std::uint64_t> failed_;

    std::vector<waiter*> armed_;
    std::condition_variable somebody_waits_;
    bool stopping_ = false;
    std::vector<watched> watched_;
};

// The waiting reads of one thread.
class waiter {
  public:
    struct read {
        std::uint64_t tag = 0;  // the thread's own name for it
        std::uint64_t offset = 0;
        std::uint64_t length = 0;
        std::uint64_t id = 0;
        miss_desk::clock::time_point until;
    };
    enum class outcome : std::uint8_t { there, failed };

    // Both must outlive it.
    static result<waiter> make(miss_desk& desk, const image_map& map);
    waiter(waiter&& other) noexcept = default;
    ~waiter();

    bool empty() const { return reads_.empty(); }
    std::size_t size() const { return reads_.size(); }

    // A read of the device whose bytes are missing. They are asked for with the next flush().
    void add(std::uint64_t tag, std::uint64_t offset, std::uint64_t length);

    // Sends what was added, and calls `done(read, outcome)` for each read that needn't wait any longer. `done` must not
    // call the waiter.
    template <class Done>
    void settle(Done&& done) {
        begin_settling();
        std::size_t kept = 0;
        for (read& r : reads_) {
            const auto now_there = look(r);
            if (now_there == verdict::waits) {
                reads_[kept++] = r;
                continue;
            }
            leave(r);
            done(r, now_there == verdict::there ? outcome::there : outcome::failed);
        }
        reads_.resize(kept);
        end_settling();
    }

    // Waits until poll(2) finds one of `events` at `own` (true), or until settle() may find something (false).
    bool wait(fd_ref own, short events);

  private:
    friend class miss_desk;
    enum class verdict : std::uint8_t { waits, there, failed };
    waiter(miss_desk& desk, const image_map& map, unique_fd event)
        : desk_(&desk), map_(&map), event_(std::move(event)) {}
    void begin_settling();
    void end_settling();
    verdict look(const read& r) const;
    void leave(const read& r);

    miss_desk* desk_;
    const image_map* map_;
    unique_fd event_;
    std::vector<read> reads_;
    bool armed_ = false;
};

}  // namespace nerofs::serve
