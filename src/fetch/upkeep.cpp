#include "fetch/upkeep.h"

#include <algorithm>
#include <optional>

#include "base/log.h"
#include "cache/verifier.h"

namespace nerofs::fetch {
namespace {

using namespace std::chrono_literals;

constexpr auto checkpoint_every = 5s;  // what a crash of the machine costs at most, in fetching
constexpr auto verify_pause = 1s;      // while others fetch, or there is nothing to check yet
constexpr auto verify_put_off = 5s;    // at most, while somebody reads what he hasn't read before
constexpr std::uint64_t verify_step = 8u << 20;

class caretaker {
  public:
    explicit caretaker(const upkeep::blob& blob)
        : writer_(*blob.writer),
          fetcher_(*blob.fetcher),
          digest_(blob.digest),
          checked_by_units_(blob.checked_by_units),
          seen_(writer_.map().generation() - 1) {}

    void checkpoint() {
        if (writer_.map().generation() == seen_) return;
        seen_ = writer_.map().generation();
        if (const auto done = writer_.checkpoint(); !done) log::error(done.error().message());
    }

    // Does a step of the check; how long to pause before the next.
    std::chrono::milliseconds verify() {
        if (fetcher_.look_at_kept(verify_step)) return 1ms;
        if (writer_.map().verified() || !writer_.complete()) return verify_pause;
        if (checked_by_units_) {
            writer_.mark_verified();
            (void)writer_.checkpoint();
        }
        if (digest_.empty()) return verify_pause;
        // The processor is the reader's first.
        if (put_off_ < verify_put_off && fetcher_.unread_for() < verify_pause) {
            put_off_ += verify_pause;
            return verify_pause;
        }
        if (!verifier_) {
            if (!writer_.take_verification()) return verify_pause;
            auto made = cache::blob_verifier::make(writer_.data(), writer_.map(), digest_);
            if (!made) {
                log::error(made.error().message());
                digest_.clear();
                return verify_pause;
            }
            verifier_.emplace(std::move(*made));
        }
        const auto said = verifier_->step(verify_step);
        if (!said) {
            log::error("cannot check " + digest_ + ": " + said.error().message());
            verifier_.reset();
            return verify_pause;
        }
        switch (*said) {
            case cache::verdict::more:
                return 1ms;
            case cache::verdict::waiting:
                return verify_pause;
            case cache::verdict::match:
                writer_.mark_verified();
                (void)writer_.checkpoint();
                break;
            case cache::verdict::mismatch:
                log::error("the bytes of " + digest_ +
                           " are not those its digest names: it is put into quarantine, "
                           "and its readers get EIO");
                writer_.quarantine();
                break;
        }
        verifier_.reset();
        digest_.clear();
        return verify_pause;
    }

  private:
    cache::blob_writer& writer_;
    blob_fetcher& fetcher_;
    std::string digest_;
    bool checked_by_units_;
    std::chrono::milliseconds put_off_{0};
    std::optional<cache::blob_verifier> verifier_;
    std::uint32_t seen_;
};

}  // namespace

upkeep::upkeep(std::vector<blob> blobs) {
    thread_ = std::thread([this, blobs = std::move(blobs)] { run(blobs); });
}

upkeep::~upkeep() {
    {
        const std::lock_guard lock(mutex_);
        stopping_ = true;
    }
    stop_.notify_all();
    thread_.join();
}

bool upkeep::sleep(std::chrono::milliseconds time) {
    std::unique_lock lock(mutex_);
    return !stop_.wait_for(lock, time, [this] { return stopping_; });
}

void upkeep::run(const std::vector<blob>& blobs) {
    std::vector<caretaker> all(blobs.begin(), blobs.end());
    auto last = std::chrono::steady_clock::now();
    std::chrono::milliseconds pause = verify_pause;
    while (sleep(pause)) {
        pause = verify_pause;
        for (caretaker& c : all) pause = std::min(pause, c.verify());
        const auto now = std::chrono::steady_clock::now();
        if (now - last < checkpoint_every) continue;
        last = now;
        for (caretaker& c : all) c.checkpoint();
    }
}

}  // namespace nerofs::fetch
