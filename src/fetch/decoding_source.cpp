#include "fetch/decoding_source.h"

#include <pthread.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <map>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/checked.h"
#include "codec/stream_decoder.h"

namespace nerofs::fetch {
namespace {

using clock = std::chrono::steady_clock;

constexpr std::size_t pieces_ahead = 2;
// By so much what compressors make is larger than what they can't make smaller, at most and together with a block's
// header. More takes another request.
constexpr std::uint64_t overhead = 4096;
// Of a read that has all it needs, less than that from below is awaited rather than cancelled, which costs a
// connection.
constexpr std::uint64_t worth_cancelling = std::uint64_t{256} << 10;

// One read from below.
struct piece {
    std::uint64_t offset = 0;
    std::uint64_t length = 0;
    std::vector<std::byte> arrived;  // and not taken by a worker yet
    std::uint64_t received = 0;
    std::optional<source::byte_source::id> number;  // once it is known
    std::optional<status> ended;
    bool dropped = false;
    bool counted = false;  // among the requests, before its end
};

// One read of the content. What stands in the second part is used by the one worker that has the read in hand.
struct job {
    source::byte_source::id number = 0;
    source::read_request what;
    source::byte_source::completion done;
    std::optional<error> refused;  // it can't be done at all
    std::uint64_t stored_end = 0;  // nothing behind it is needed
    std::uint64_t likely_end = 0;  // until what is before it has turned out not to be enough

    std::uint64_t next_stored = 0;  // to be asked for
    std::deque<std::shared_ptr<piece>> pieces;
    std::uint32_t requests = 0;
    bool in_hand = false;  // of a worker, or in the queue for one
    bool cancelled = false;
    bool over = false;

    std::unique_ptr<codec::stream_decoder> decoder;  // none: `unit` isn't begun
    std::uint64_t stored_at = 0;                     // of the next byte to be taken
    std::uint64_t at = 0;                            // content offset of what the decoder makes next
    std::size_t unit = 0;                            // the next one to be handed on
    std::vector<std::byte> buffer;                   // of that unit; before it, of what is passed over
    bool damaged = false;                            // what take() has failed of
    std::optional<std::size_t> bad;                  // the unit that was wrong last
    std::uint64_t delivered = 0;
};

using job_ptr = std::shared_ptr<job>;

}  // namespace

class decoding_source::engine : public std::enable_shared_from_this<engine> {
  public:
    engine(std::shared_ptr<const layer::layer_index> index, source::byte_source& stored,
           decoding_source_options options)
        : index_(std::move(index)), stored_(stored), options_(options) {}

    id read(source::read_request what, completion done);
    void cancel(id which);
    void close();

  private:
    enum class step : std::uint8_t { more, waits, over };

    void work(const std::stop_token& stop);
    job_ptr next(const std::stop_token& stop);
    step advance(const job_ptr& j);
    status wanted(const job& j);
    bool was_last_piece(job& j);
    status take(job& j, std::span<const std::byte> stored);
    status unit_done(job& j, std::span<const std::byte> unit);
    status zeros_before_unit(job& j);
    status hand_on(job& j, std::uint64_t begin, std::span<const std::byte> content);
    status begin_at_unit(job& j, codec::inflater by);
    tl::unexpected<error> damage(job& j, error why) const;
    status again(job& j);
    step end(const job_ptr& j, status how);

    // With mutex_ held.
    void hand_to_worker(const job_ptr& j);
    void drop_pieces(job& j, std::vector<id>& to_cancel);
    void forget_front(job& j);
    bool waits_for_room(const job& j) const { return !j.over && !j.in_hand && j.pieces.empty(); }

    // Without it.
    void ask();
    status on_bytes(const job_ptr& j, piece& p, std::span<const std::byte> bytes);
    void on_end(const job_ptr& j, piece& p, const source::read_result& how);

    bool finished(const job& j) const { return j.delivered == j.what.length; }
    // Behind the last unit that has bytes before this one.
    std::size_t units_end(std::uint64_t content_end) const {
        const std::size_t last = index_->unit_at(content_end);
        return last < index_->unit_count() && index_->unit(last).begin < content_end ? last + 1 : last;
    }
    std::uint64_t stored_begin(std::size_t unit) const {
        return index_->place_before(index_->unit(unit).begin).stored_begin;
    }

    const std::shared_ptr<const layer::layer_index> index_;
    source::byte_source& stored_;
    const decoding_source_options options_;

    std::mutex mutex_;
    std::condition_variable_any changed_;
    std::map<id, job_ptr> jobs_;                   // until their completion has been called
    std::array<std::deque<job_ptr>, 3> runnable_;  // by priority
    std::uint64_t in_flight_ = 0;                  // stored bytes, by all pieces
    id last_ = 0;
    bool closing_ = false;
    std::vector<std::jthread> workers_;
};

// ---- from outside

source::byte_source::id decoding_source::engine::read(source::read_request what, completion done) {
    const auto j = std::make_shared<job>();
    j->what = std::move(what);
    j->done = std::move(done);
    const std::uint64_t offset = j->what.offset;
    const std::uint64_t length = j->what.length;
    if (index_->how != layer::compression::plain && index_->chunks.empty() && index_->checkpoints.empty()) {
        j->refused = make_error(error_kind::usage, "a layer without checkpoints isn't decoded");
    } else if (!range_within(offset, length, index_->content_bytes)) {
        j->refused =
            make_error(error_kind::usage, layer::short_name(index_->stored_digest) + ": a read beyond its end");
    } else if (length != 0) {
        j->unit = index_->unit_at(offset);
        const std::size_t behind = units_end(offset + length);
        if (j->unit < behind) {
            const std::uint64_t end = index_->unit(behind - 1).end;
            const layer::decoding_place last = index_->place_before(end - 1);
            j->stored_end = last.stored_end;
            j->likely_end = std::min(j->stored_end, last.stored_begin + (end - last.content_begin) + overhead);
            j->next_stored = j->stored_at = stored_begin(j->unit);
        }
    }
    {
        const std::lock_guard lock(mutex_);
        j->number = ++last_;
        jobs_.emplace(j->number, j);
        while (workers_.size() < options_.workers) {
            workers_.emplace_back([this](const std::stop_token& stop) { work(stop); });
            pthread_setname_np(workers_.back().native_handle(), "decode");
        }
        if (j->refused || j->next_stored == j->stored_end) hand_to_worker(j);
        changed_.notify_all();
    }
    ask();
    return j->number;
}

void decoding_source::engine::cancel(id which) {
    const std::lock_guard lock(mutex_);
    const auto found = jobs_.find(which);
    if (found == jobs_.end()) return;
    found->second->cancelled = true;
    hand_to_worker(found->second);
}

void decoding_source::engine::close() {
    std::unique_lock lock(mutex_);
    closing_ = true;
    for (auto& [number, j] : jobs_) {
        j->cancelled = true;
        hand_to_worker(j);
    }
    changed_.wait(lock, [&] { return jobs_.empty(); });
    auto workers = std::exchange(workers_, {});
    lock.unlock();
    for (auto& worker : workers) worker.request_stop();
}

// ---- from below

void decoding_source::engine::ask() {
    struct wish {
        job_ptr of;
        std::shared_ptr<piece> what;
    };
    std::vector<wish> wishes;
    {
        const std::lock_guard lock(mutex_);
        if (closing_) return;
        bool room = true;
        for (const auto priority : {http::priority::demand, http::priority::ahead, http::priority::background}) {
            for (auto& [number, j] : jobs_) {
                if (j->what.priority != priority || j->over || j->cancelled || j->refused) continue;
                while (room && j->pieces.size() < pieces_ahead && j->next_stored < j->likely_end) {
                    const std::uint64_t length = std::min(j->likely_end - j->next_stored, options_.piece_bytes);
                    room = in_flight_ == 0 || in_flight_ + length <= options_.most_stored_bytes;
                    if (!room) break;
                    const auto p = std::make_shared<piece>();
                    p->offset = std::exchange(j->next_stored, j->next_stored + length);
                    p->length = length;
                    in_flight_ += length;
                    j->pieces.push_back(p);
                    wishes.push_back({j, p});
                }
            }
        }
    }
    for (const auto& [j, p] : wishes) {
        source::read_request request;
        request.offset = p->offset;
        request.length = p->length;
        request.deadline = j->what.deadline;
        request.priority = j->what.priority;
        request.sink = [self = shared_from_this(), j = j, p = p](std::uint64_t, std::span<const std::byte> bytes) {
            return self->on_bytes(j, *p, bytes);
        };
        const id number = stored_.read(std::move(request), [self = shared_from_this(), j = j, p = p](
                                                               source::read_result how) { self->on_end(j, *p, how); });
        bool dropped = false;
        {
            const std::lock_guard lock(mutex_);
            p->number = number;
            dropped = p->dropped;
        }
        if (dropped) stored_.cancel(number);
    }
}

status decoding_source::engine::on_bytes(const job_ptr& j, piece& p, std::span<const std::byte> bytes) {
    const std::lock_guard lock(mutex_);
    if (p.dropped) return {};
    if (bytes.size() > p.length - p.received) return fail(error_kind::corrupt, "more than was asked for");
    p.arrived.insert(p.arrived.end(), bytes.begin(), bytes.end());
    p.received += bytes.size();
    if (j->pieces.front().get() == &p) hand_to_worker(j);
    return {};
}

void decoding_source::engine::on_end(const job_ptr& j, piece& p, const source::read_result& how) {
    const std::lock_guard lock(mutex_);
    if (!p.counted) j->requests += how.requests;
    if (p.dropped) return;
    p.ended = how.how;
    if (how.how && p.received != p.length)
        p.ended = fail(error_kind::retryable,
                       "the source gave " + std::to_string(p.received) + " of " + std::to_string(p.length) + " bytes");
    if (j->pieces.front().get() == &p) hand_to_worker(j);
}

// ---- the workers

void decoding_source::engine::hand_to_worker(const job_ptr& j) {
    if (std::exchange(j->in_hand, true)) return;
    runnable_[static_cast<std::size_t>(j->what.priority)].push_back(j);
    changed_.notify_all();
}

job_ptr decoding_source::engine::next(const std::stop_token& stop) {
    std::unique_lock lock(mutex_);
    while (!stop.stop_requested()) {
        for (auto& queue : runnable_) {
            if (queue.empty()) continue;
            job_ptr j = std::move(queue.front());
            queue.pop_front();
            return j;
        }
        // Whoever waits for room has nobody below who would tell it that its time is up.
        auto until = http::time_point::max();
        for (const auto& [number, j] : jobs_)
            if (waits_for_room(*j)) until = std::min(until, j->what.deadline);
        const auto something = [&, seen = last_] {
            return last_ != seen ||
                   std::any_of(runnable_.begin(), runnable_.end(), [](const auto& queue) { return !queue.empty(); });
        };
        if (until == http::time_point::max()) {
            changed_.wait(lock, stop, something);
        } else if (!changed_.wait_until(lock, stop, until, something)) {
            for (const auto& [number, j] : jobs_)
                if (waits_for_room(*j) && j->what.deadline <= clock::now()) hand_to_worker(j);
        }
    }
    return nullptr;
}

void decoding_source::engine::work(const std::stop_token& stop) {
    while (const job_ptr j = next(stop)) {
        if (advance(j) != step::more) continue;
        const std::lock_guard lock(mutex_);
        j->in_hand = false;
        hand_to_worker(j);  // behind those who wait
    }
}

// Does with a read what can be done with what has come.
decoding_source::engine::step decoding_source::engine::advance(const job_ptr& j) {
    std::vector<std::byte> stored;
    std::optional<status> front_ended;
    {
        const std::lock_guard lock(mutex_);
        if (!j->pieces.empty()) {
            piece& front = *j->pieces.front();
            if (front.arrived.empty() && !front.ended && !j->cancelled) {
                j->in_hand = false;
                return step::waits;
            }
            stored.swap(front.arrived);
            front_ended = front.ended;
        } else if (j->next_stored < j->stored_end && !j->cancelled && clock::now() < j->what.deadline) {
            j->in_hand = false;
            return step::waits;
        }
    }
    if (j->refused) return end(j, fail(*j->refused));
    auto taken = take(*j, stored);
    if (taken && finished(*j)) return end(j, {});
    if (front_ended && !*front_ended) return end(j, std::move(*front_ended));
    if (taken && front_ended && was_last_piece(*j))
        taken = damage(*j, make_error(error_kind::corrupt, "it ends too early"));
    if (!taken && j->damaged && j->bad != j->unit) taken = again(*j);
    if (!taken) return end(j, std::move(taken));
    if (front_ended) ask();
    return step::more;
}

status decoding_source::engine::wanted(const job& j) {
    const std::lock_guard lock(mutex_);
    if (j.cancelled) return fail(error_kind::cancelled, "the read was cancelled");
    if (clock::now() >= j.what.deadline)
        return fail(error_kind::timeout, layer::short_name(index_->stored_digest) + ": the deadline has passed");
    return {};
}

// The front piece is used up.
bool decoding_source::engine::was_last_piece(job& j) {
    const std::lock_guard lock(mutex_);
    forget_front(j);
    if (!j.pieces.empty() || j.next_stored != j.likely_end) return false;
    return std::exchange(j.likely_end, j.stored_end) == j.stored_end;
}

tl::unexpected<error> decoding_source::engine::damage(job& j, error why) const {
    j.damaged = true;
    return fail(std::move(why).in(layer::short_name(index_->stored_digest) + ": unit " + std::to_string(j.unit)));
}

status decoding_source::engine::take(job& j, std::span<const std::byte> stored) {
    for (;;) {
        NEROFS_CHECK(wanted(j));
        if (!j.decoder) {
            NEROFS_CHECK(zeros_before_unit(j));
            if (finished(j)) return {};
            const std::uint64_t begin = stored_begin(j.unit);
            if (j.stored_at > begin) return damage(j, make_error(error_kind::corrupt, "what is before it is longer"));
            const std::size_t passed = std::min<std::uint64_t>(begin - j.stored_at, stored.size());
            stored = stored.subspan(passed);
            j.stored_at += passed;
            if (stored.empty()) return {};
            NEROFS_CHECK(begin_at_unit(j, j.bad == j.unit ? codec::inflater::zlib : codec::inflater::fastest));
        }
        const auto [begin, end] = index_->unit(j.unit);
        const auto room = j.at < begin
                              ? std::span(j.buffer).first(std::min<std::uint64_t>(begin - j.at, j.buffer.size()))
                              : std::span(j.buffer).subspan(j.at - begin, end - j.at);
        const auto made = j.decoder->decode(stored, room);
        if (!made) return made.error().kind == error_kind::corrupt ? damage(j, made.error()) : fail(made.error());
        stored = stored.subspan(made->taken);
        j.stored_at += made->taken;
        j.at += made->made;
        if (j.at == end) {
            NEROFS_CHECK(unit_done(j, std::span(j.buffer).first(end - begin)));
            if (finished(j)) return {};
        } else if (made->made == 0) {
            if (stored.empty()) return {};
            if (made->taken == 0) return damage(j, make_error(error_kind::corrupt, "the stream goes no further"));
        }
    }
}

status decoding_source::engine::unit_done(job& j, std::span<const std::byte> unit) {
    const codec::sha256_digest* const digest = index_->unit_digest(j.unit);
    if (digest != nullptr && codec::sha256::of(unit) != *digest)
        return damage(j, make_error(error_kind::corrupt, "its digest is wrong"));
    NEROFS_CHECK(hand_on(j, index_->unit(j.unit++).begin, unit));
    // The next chunk lies behind what isn't of any.
    if (!index_->chunks.empty()) j.decoder.reset();
    return {};
}

status decoding_source::engine::zeros_before_unit(job& j) {
    static constexpr std::array<std::byte, 65536> zeros{};
    const std::uint64_t end = j.unit < index_->unit_count() ? index_->unit(j.unit).begin : index_->content_bytes;
    for (;;) {
        const std::uint64_t at = j.what.offset + j.delivered;
        if (at >= end || finished(j)) return {};
        NEROFS_CHECK(hand_on(j, at, std::span(zeros).first(std::min<std::uint64_t>(end - at, zeros.size()))));
    }
}

// What is asked for of it.
status decoding_source::engine::hand_on(job& j, std::uint64_t begin, std::span<const std::byte> content) {
    const std::uint64_t from = std::max(begin, j.what.offset);
    const std::uint64_t to = std::min(begin + content.size(), j.what.offset + j.what.length);
    NEROFS_CHECK(j.what.sink(from, content.subspan(from - begin, to - from)));
    j.delivered += to - from;
    return {};
}

status decoding_source::engine::begin_at_unit(job& j, codec::inflater by) {
    const auto [begin, end] = index_->unit(j.unit);
    j.at = index_->place_before(begin).content_begin;
    j.buffer.resize(index_->chunks.empty() ? index_->unit_bytes : end - begin);
    if (index_->how == layer::compression::plain) {
        j.decoder = codec::decode_plain();
    } else if (index_->how == layer::compression::zstd) {
        j.decoder = codec::decode_zstd();
    } else if (!index_->chunks.empty()) {
        NEROFS_TRY(j.decoder, codec::decode_gzip(by));
    } else {
        const layer::checkpoint& from = index_->checkpoints[index_->checkpoint_before(begin)];
        NEROFS_TRY(const auto window, layer::unpack_window(from.window));
        NEROFS_TRY(j.decoder, codec::decode_gzip_from({.compressed_offset = from.stored_offset,
                                                       .decoded_offset = from.content_offset,
                                                       .bits = from.bits,
                                                       .window = window},
                                                      by));
    }
    return {};
}

// The unit was wrong for the first time.
status decoding_source::engine::again(job& j) {
    std::vector<id> to_cancel;
    {
        const std::lock_guard lock(mutex_);
        drop_pieces(j, to_cancel);
        j.next_stored = j.stored_at = stored_begin(j.unit);
    }
    for (const id number : to_cancel) stored_.cancel(number);
    j.bad = j.unit;
    j.damaged = false;
    j.decoder.reset();
    ask();
    return {};
}

decoding_source::engine::step decoding_source::engine::end(const job_ptr& j, status how) {
    std::vector<id> to_cancel;
    source::read_result result{std::move(how), j->delivered, 0};
    {
        const std::lock_guard lock(mutex_);
        j->over = true;
        drop_pieces(*j, to_cancel);
        result.requests = j->requests;
    }
    for (const id number : to_cancel) stored_.cancel(number);
    // What is still to come from below keeps the job, and must not keep what the caller gave.
    j->what.sink = nullptr;
    j->decoder.reset();
    std::exchange(j->done, nullptr)(std::move(result));
    {
        const std::lock_guard lock(mutex_);
        jobs_.erase(j->number);
        changed_.notify_all();
    }
    ask();
    return step::over;
}

void decoding_source::engine::forget_front(job& j) {
    j.pieces.front()->dropped = true;
    in_flight_ -= j.pieces.front()->length;
    j.pieces.pop_front();
}

void decoding_source::engine::drop_pieces(job& j, std::vector<id>& to_cancel) {
    while (!j.pieces.empty()) {
        piece& front = *j.pieces.front();
        if (!front.ended) {
            front.counted = true;
            ++j.requests;
            if (front.number && (!finished(j) || front.length - front.received > worth_cancelling))
                to_cancel.push_back(*front.number);
        }
        forget_front(j);
    }
}

// ---- the source

decoding_source::decoding_source(std::shared_ptr<const layer::layer_index> index, source::byte_source& stored,
                                 decoding_source_options options)
    : engine_(std::make_shared<engine>(std::move(index), stored, options)) {}

decoding_source::~decoding_source() {
    engine_->close();
}

source::byte_source::id decoding_source::read(source::read_request what, completion done) {
    return engine_->read(std::move(what), std::move(done));
}

void decoding_source::cancel(id which) {
    engine_->cancel(which);
}

layer::content_range decoded_together(const layer::layer_index& index, layer::content_range part) {
    if (part.begin >= part.end || part.end > index.content_bytes) return part;
    if (!index.chunks.empty() || index.how == layer::compression::plain) return index.whole_units(part);
    const std::uint64_t places = std::max<std::uint64_t>(index.checkpoints.size(), 1);
    const std::uint64_t together =
        index.unit_bytes * std::max<std::uint64_t>((index.unit_count() + places / 2) / places, 1);
    return {part.begin / together * together,
            std::min((part.end + together - 1) / together * together, index.content_bytes)};
}

result<layer::layer_index> index_of(const codec::zinfo& checkpoints, const codec::sha256_digest& stored_digest,
                                    std::uint64_t stored_bytes, std::uint64_t content_bytes) {
    layer::layer_index index;
    index.how = layer::compression::gzip;
    index.stored_digest = stored_digest;
    index.stored_bytes = stored_bytes;
    index.content_bytes = content_bytes;
    for (std::size_t i = 0; i < checkpoints.size(); ++i) {
        const codec::gzip_checkpoint at = checkpoints.at(i);
        if (at.decoded_offset > content_bytes || at.compressed_offset >= stored_bytes)
            return fail(error_kind::corrupt, layer::short_name(stored_digest) + ": zinfo: a checkpoint behind the end");
        if (at.decoded_offset == content_bytes) continue;  // nothing begins there
        index.checkpoints.push_back(
            {.stored_offset = at.compressed_offset,
             .content_offset = at.decoded_offset,
             .bits = at.bits,
             .window = at.window.empty() ? std::vector<std::byte>() : layer::pack_window(at.window)});
    }
    return index;
}

}  // namespace nerofs::fetch
