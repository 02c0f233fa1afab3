// Fills one cached blob from its source: takes what is wanted, lets the planner make requests of it, puts what comes
// into the cache, and says who waited in vain.
//
// Threads: any. Bodies are written to the cache on the source's thread; nothing here waits for the network but read().
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/result.h"
#include "cache/planner.h"
#include "cache/presence/touch_map.h"
#include "cache/writer.h"
#include "erofs/byte_reader.h"
#include "fetch/kept_chunks.h"
#include "source/byte_source.h"

namespace nerofs::fetch {

struct blob_fetcher_options {
    std::chrono::milliseconds timeout{60'000};  // of a read that somebody waits for
    std::uint64_t background_rate = 0;
    cache::planner_limits limits{};
    // What is on disk already, but has to be looked at. None: nothing.
    std::shared_ptr<kept_chunks> kept{};
    // The cache's file system is full. Called on any thread, at most once a second.
    std::function<void()> no_room{};
};

class blob_fetcher {
  public:
    using clock = std::chrono::steady_clock;
    // A wanted range won't come. Called on any thread, never from within want(), with nothing of the fetcher locked.
    using given_up = std::function<void()>;

    // All three must outlive it.
    blob_fetcher(cache::blob_writer& writer, source::byte_source& from, std::optional<cache::touch_map> touched,
                 blob_fetcher_options options);
    // Cancels what is under way and returns when the source has let go of it. Not on the source's thread.
    ~blob_fetcher();

    // Somebody waits for these bytes; that they are there is seen in the presence map.
    void want(std::uint64_t offset, std::uint64_t length, given_up in_vain);
    // Somebody will probably ask for them soon.
    void want_soon(std::uint64_t offset, std::uint64_t length);
    // All of it, with what is left of the link.
    void want_all();
    // If all is wanted and wasn't checked yet: looks at so many bytes more of it where they are kept. False: there is
    // nothing to be done. One thread, not the source's.
    bool look_at_kept(std::uint64_t bytes);

    // Fills `into`, waiting as long as a reader would. Not on the source's thread.
    status read(std::uint64_t offset, std::span<std::byte> into);
    // Waits until all of the range is there or the deadline has passed (false).
    bool wait_for(std::uint64_t offset, std::uint64_t length, clock::time_point until) const;

    // What time makes due: call it when next_tick() has come, and after the cache's other users may have done
    // something.
    void tick();
    clock::time_point next_tick() const;

    // How long nobody has read anything new, whether it was there or not.
    clock::duration unread_for();

    std::uint64_t present_bytes() const;  // and kept ones
    std::uint64_t waiting() const;
    std::uint64_t in_flight() const;
    std::uint64_t bytes_per_second() const;
    // Bytes between two ranges that cost less to fetch than another request does, by what is known of the link.
    std::uint64_t cheap_gap() const;
    std::string last_error() const;
    const cache::live_map& map() const { return writer_.map(); }

  private:
    struct demand {
        std::uint64_t offset = 0;
        std::uint64_t length = 0;
        clock::time_point until;
        given_up in_vain;
    };
    struct flight {
        cache::chunk_fill fill;
        source::byte_source::id read = 0;
        bool over = false;
    };

    // All with mutex_ held.
    void pump(clock::time_point now);
    void send(const cache::planned_request& r, clock::time_point now);
    void take_hits(clock::time_point now);
    void look_after_others(clock::time_point now);
    std::vector<given_up> expired(clock::time_point now);
    std::vector<given_up> hopeless(cache::chunk_range range, const error& why, clock::time_point now);

    status on_bytes(std::uint64_t id, const std::shared_ptr<flight>& f, std::span<const std::byte> bytes);
    void on_end(std::uint64_t id, cache::chunk_range chunks, const std::shared_ptr<flight>& f,
                const source::read_result& how);

    cache::blob_writer& writer_;
    source::byte_source& source_;
    const blob_fetcher_options options_;
    unfetched_chunks table_;

    mutable std::mutex mutex_;
    cache::link_model link_;
    cache::planner planner_;
    std::optional<cache::touch_map> touched_;
    std::list<demand> demands_;
    std::unordered_map<std::uint64_t, std::shared_ptr<flight>> flights_;
    std::condition_variable landed_;
    clock::time_point last_read_ = clock::now();
    clock::time_point paused_until_{};
    std::chrono::milliseconds pause_{0};
    clock::time_point no_room_said_{};
    std::atomic<bool> all_wanted_{false};
    std::uint64_t looked_at_ = 0;  // by look_at_kept()
    std::string last_error_;
    bool closing_ = false;
};

// The blob as an image that begins at `begin`; reading waits as blob_fetcher::read() does.
class blob_image final : public erofs::byte_reader {
  public:
    blob_image(blob_fetcher& blob, std::uint64_t begin) : blob_(blob), begin_(begin) {}
    status read_exact(std::uint64_t offset, std::span<std::byte> into) override {
        return blob_.read(begin_ + offset, into);
    }

  private:
    blob_fetcher& blob_;
    std::uint64_t begin_;
};

}  // namespace nerofs::fetch
