#include "source/in_order.h"

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <optional>
#include <vector>

namespace nerofs::source {
namespace {

// The source's callbacks may come after the reader has gone: they share this.
struct shared {
    std::mutex mutex;
    std::condition_variable changed;
    std::uint64_t received = 0;  // of all requests
    unsigned running = 0;
};

struct piece {
    std::vector<std::byte> bytes;
    std::size_t filled = 0;
    std::optional<status> ended;
    byte_source::id id = 0;
};

class reader {
  public:
    reader(byte_source& from, std::uint64_t begin, std::uint64_t end, const in_order_options& options)
        : from_(from), begin_(begin), end_(end), options_(options), asked_(begin) {}

    // Whatever happened, nothing is under way any more when it returns: sinks write into the pieces.
    ~reader() {
        for (const auto& p : pieces_)
            if (!ended(*p)) from_.cancel(p->id);
        std::unique_lock lock(state_->mutex);
        state_->changed.wait(lock, [this] { return state_->running == 0; });
    }

    status run(const std::function<status(std::span<const std::byte>)>& each) {
        for (std::uint64_t taken = begin_; taken < end_;) {
            while (asked_ < end_ && pieces_.size() < options_.requests) ask();
            piece& first = *pieces_.front();
            std::size_t used = 0;
            while (used < first.bytes.size()) {
                NEROFS_TRY(const std::size_t filled, wait_beyond(first, used));
                NEROFS_CHECK(each(std::span(first.bytes).subspan(used, filled - used)));
                used = filled;
            }
            taken += used;
            // Its end is told after its last byte.
            std::unique_lock lock(state_->mutex);
            if (!state_->changed.wait_for(lock, options_.silence, [&] { return first.ended.has_value(); }))
                return fail(error_kind::timeout, "nothing comes any more", ETIMEDOUT);
            lock.unlock();
            pieces_.pop_front();
        }
        return {};
    }

  private:
    bool ended(const piece& p) const {
        const std::lock_guard lock(state_->mutex);
        return p.ended.has_value();
    }

    void ask() {
        auto p = std::make_shared<piece>();
        p->bytes.resize(std::min(options_.request_bytes, end_ - asked_));
        read_request what;
        what.offset = asked_;
        what.length = p->bytes.size();
        what.priority = http::priority::demand;
        what.sink = [p, s = state_](std::uint64_t, std::span<const std::byte> bytes) -> status {
            const std::size_t n = std::min(bytes.size(), p->bytes.size() - p->filled);
            std::copy_n(bytes.begin(), n, p->bytes.begin() + static_cast<std::ptrdiff_t>(p->filled));
            const std::lock_guard lock(s->mutex);
            p->filled += n;
            s->received += n;
            s->changed.notify_all();
            return {};
        };
        asked_ += p->bytes.size();
        {
            const std::lock_guard lock(state_->mutex);
            ++state_->running;
        }
        p->id = from_.read(std::move(what), [p, s = state_](read_result r) {
            const std::lock_guard lock(s->mutex);
            p->ended = std::move(r.how);
            --s->running;
            s->changed.notify_all();
        });
        pieces_.push_back(std::move(p));
    }

    // How much of it has come, which is more than `used`.
    result<std::size_t> wait_beyond(const piece& p, std::size_t used) {
        std::unique_lock lock(state_->mutex);
        for (;;) {
            if (p.filled > used) return p.filled;
            if (p.ended) return fail(*p.ended ? make_error(error_kind::corrupt, "it ended early") : p.ended->error());
            const std::uint64_t seen = state_->received;
            const auto woke = state_->changed.wait_for(lock, options_.silence);
            if (woke == std::cv_status::timeout && state_->received == seen && p.filled == used && !p.ended)
                return fail(error_kind::timeout, "nothing comes any more", ETIMEDOUT);
        }
    }

    byte_source& from_;
    const std::uint64_t begin_;
    const std::uint64_t end_;
    const in_order_options options_;
    const std::shared_ptr<shared> state_ = std::make_shared<shared>();
    std::deque<std::shared_ptr<piece>> pieces_;
    std::uint64_t asked_;
};

}  // namespace

status read_in_order(byte_source& from, std::uint64_t begin, std::uint64_t end, const in_order_options& options,
                     const std::function<status(std::span<const std::byte>)>& each) {
    return reader(from, begin, end, options).run(each);
}

result<std::vector<std::byte>> read_range(byte_source& from, std::uint64_t begin, std::uint64_t end,
                                          std::chrono::milliseconds silence) {
    std::vector<std::byte> bytes;
    in_order_options options;
    options.silence = silence;
    NEROFS_CHECK(read_in_order(from, begin, end, options, [&](std::span<const std::byte> piece) -> status {
        bytes.insert(bytes.end(), piece.begin(), piece.end());
        return {};
    }));
    return bytes;
}

}  // namespace nerofs::source
