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

    std::unique_ptr<codec::stream_decoder> decoder;
    std::uint64_t at = 0;              // content offset of what the decoder makes next
    std::uint64_t unit = 0;            // the next one to be handed on
    std::vector<std::byte> buffer;     // of that unit; before it, of what is passed over
    bool damaged = false;              // what take() has failed of
    std::optional<std::uint64_t> bad;  // the unit that was wrong last
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
    std::uint64_t unit_begin(std::uint64_t unit) const { return unit * index_->unit_bytes; }
    std::uint64_t unit_end(std::uint64_t unit) const { return std::min(unit_begin(unit + 1), index_->content_bytes); }
    std::uint64_t first_stored(std::uint64_t unit) const {
        return index_->checkpoints[index_->checkpoint_before(unit_begin(unit))].first_byte();
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
    if (index_->how == layer::compression::plain || index_->checkpoints.empty()) {
        j->refused = make_error(error_kind::usage, "a layer without checkpoints isn't decoded");
    } else if (!range_within(offset, length, index_->content_bytes)) {
        j->refused =
            make_error(error_kind::usage, layer::short_name(index_->stored_digest) + ": a read beyond its end");
    } else if (length != 0) {
        const std::uint64_t end = unit_end((offset + length - 1) / index_->unit_bytes);
        const auto last = index_->checkpoint_before(end - 1) + 1;
        j->stored_end =
            last == index_->checkpoints.size() ? index_->stored_bytes : index_->checkpoints[last].stored_offset;
        const layer::checkpoint& before = index_->checkpoints[last - 1];
        j->likely_end = std::min(j->stored_end, before.stored_offset + (end - before.content_offset) + overhead);
        j->unit = offset / index_->unit_bytes;
        j->next_stored = first_stored(j->unit);
    }
    {
        const std::lock_guard lock(mutex_);
        j->number = ++last_;
        jobs_.emplace(j->number, j);
        while (workers_.size() < options_.workers) {
            workers_.emplace_back([this](const std::stop_token& stop) { work(stop); });
            pthread_setname_np(workers_.back().native_handle(), "decode");
        }
        if (j->refused || length == 0) hand_to_worker(j);
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
    NEROFS_CHECK(wanted(j));
    if (stored.empty()) return {};
    if (!j.decoder) NEROFS_CHECK(begin_at_unit(j, codec::inflater::fastest));
    while (!finished(j)) {
        NEROFS_CHECK(wanted(j));
        const std::uint64_t begin = unit_begin(j.unit);
        const std::uint64_t end = unit_end(j.unit);
        const auto room = j.at < begin
                              ? std::span(j.buffer).first(std::min<std::uint64_t>(begin - j.at, j.buffer.size()))
                              : std::span(j.buffer).subspan(j.at - begin, end - j.at);
        const auto made = j.decoder->decode(stored, room);
        if (!made) return made.error().kind == error_kind::corrupt ? damage(j, made.error()) : fail(made.error());
        stored = stored.subspan(made->taken);
        j.at += made->made;
        if (j.at == end) {
            NEROFS_CHECK(unit_done(j, std::span(j.buffer).first(end - begin)));
        } else if (made->made == 0) {
            if (stored.empty()) break;
            if (made->taken == 0) return damage(j, make_error(error_kind::corrupt, "the stream goes no further"));
        }
    }
    return {};
}

status decoding_source::engine::unit_done(job& j, std::span<const std::byte> unit) {
    if (!index_->units.empty() && codec::sha256::of(unit) != index_->units[j.unit])
        return damage(j, make_error(error_kind::corrupt, "its digest is wrong"));
    const std::uint64_t begin = unit_begin(j.unit++);
    const std::uint64_t from = std::max(begin, j.what.offset);
    const std::uint64_t to = std::min(begin + unit.size(), j.what.offset + j.what.length);
    NEROFS_CHECK(j.what.sink(from, unit.subspan(from - begin, to - from)));
    j.delivered += to - from;
    return {};
}

status decoding_source::engine::begin_at_unit(job& j, codec::inflater by) {
    const layer::checkpoint& from = index_->checkpoints[index_->checkpoint_before(unit_begin(j.unit))];
    j.at = from.content_offset;
    j.buffer.resize(index_->unit_bytes);
    if (index_->how == layer::compression::zstd) {
        j.decoder = codec::decode_zstd();
        return {};
    }
    NEROFS_TRY(const auto window, layer::unpack_window(from.window));
    NEROFS_TRY(j.decoder, codec::decode_gzip_from({.compressed_offset = from.stored_offset,
                                                   .decoded_offset = from.content_offset,
                                                   .bits = from.bits,
                                                   .window = window},
                                                  by));
    return {};
}

// The unit was wrong for the first time.
status decoding_source::engine::again(job& j) {
    std::vector<id> to_cancel;
    {
        const std::lock_guard lock(mutex_);
        drop_pieces(j, to_cancel);
        j.next_stored = first_stored(j.unit);
    }
    for (const id number : to_cancel) stored_.cancel(number);
    j.bad = j.unit;
    j.damaged = false;
    NEROFS_CHECK(begin_at_unit(j, codec::inflater::zlib));
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

std::uint64_t decoded_together(const layer::layer_index& index) {
    const std::uint64_t units = index.content_bytes / index.unit_bytes + (index.content_bytes % index.unit_bytes != 0);
    const std::uint64_t checkpoints = std::max<std::uint64_t>(index.checkpoints.size(), 1);
    return index.unit_bytes * std::max<std::uint64_t>((units + checkpoints / 2) / checkpoints, 1);
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
