#include "fetch/blob_fetcher.h"

#include <algorithm>
#include <utility>

#include "base/log.h"
#include "os/files.h"

namespace nerofs::fetch {
namespace {

using namespace std::chrono_literals;

// After a failure of the source, before anything is asked again; the source has tried for long by itself.
constexpr auto first_pause = 250ms;
constexpr auto longest_pause = 5s;
// While other processes fetch what is waited for here: nobody announces a death.
constexpr auto look_at_others = 100ms;
constexpr auto patience_with_others = 5s;  // then their work is done here, too
constexpr auto look_at_hits = 20ms;
constexpr auto say_no_room_every = 1s;
// A gap costs less than another request as long as the link brings it in a part of a round trip: several requests go
// side by side.
constexpr unsigned cheap_gaps_per_round_trip = 4;
constexpr std::uint64_t most_cheap_gap = 4u << 20;

http::priority priority_of(cache::priority p) {
    switch (p) {
        case cache::priority::demand:
            return http::priority::demand;
        case cache::priority::readahead:
            return http::priority::ahead;
        case cache::priority::background:
            break;
    }
    return http::priority::background;
}

cache::planner_limits limits_of(const blob_fetcher_options& options, bool sees_hits) {
    cache::planner_limits limits = options.limits;
    limits.background_bytes_per_second = options.background_rate;
    limits.sees_hits = sees_hits;
    return limits;
}

// Trying again later may help.
bool may_pass(const error& e) {
    return e.kind == error_kind::timeout || e.kind == error_kind::retryable || cache::is_out_of_space(e);
}

}  // namespace

blob_fetcher::blob_fetcher(cache::blob_writer& writer, source::byte_source& from,
                           std::optional<cache::touch_map> touched, blob_fetcher_options options)
    : writer_(writer),
      source_(from),
      options_(std::move(options)),
      table_(writer, options_.kept.get()),
      planner_(writer.map().blob_bytes(), table_, link_, limits_of(options_, touched.has_value())),
      touched_(std::move(touched)) {}

blob_fetcher::~blob_fetcher() {
    std::unique_lock lock(mutex_);
    closing_ = true;
    for (const auto& [id, f] : flights_) source_.cancel(f->read);
    landed_.wait(lock, [this] { return flights_.empty(); });
}

void blob_fetcher::want(std::uint64_t offset, std::uint64_t length, given_up in_vain) {
    if (options_.kept) options_.kept->look_at(offset, length);
    const auto now = clock::now();
    const std::lock_guard lock(mutex_);
    last_read_ = now;
    if (map().lookup(offset, length) != cache::presence::missing) return;  // the reader's touch will tell of a hit
    demands_.push_back({offset, length, now + options_.timeout, std::move(in_vain)});
    take_hits(now);
    planner_.miss(offset, length, cache::priority::demand, now);
    pump(now);
}

void blob_fetcher::want_soon(std::uint64_t offset, std::uint64_t length) {
    const auto now = clock::now();
    const std::lock_guard lock(mutex_);
    planner_.miss(offset, length, cache::priority::readahead, now);
    pump(now);
}

void blob_fetcher::want_all() {
    all_wanted_ = true;
    const auto now = clock::now();
    const std::lock_guard lock(mutex_);
    planner_.miss(0, map().blob_bytes(), cache::priority::background, now);
    pump(now);
}

bool blob_fetcher::look_at_kept(std::uint64_t bytes) {
    if (!options_.kept || !all_wanted_ || map().verified() || options_.kept->bytes() == 0) return false;
    const std::uint64_t from =
        std::exchange(looked_at_, (looked_at_ + bytes) % cache::round_up(map().blob_bytes(), bytes));
    options_.kept->look_at(from, bytes);
    const auto now = clock::now();
    const std::lock_guard lock(mutex_);
    planner_.miss(from, bytes, cache::priority::background, now);
    pump(now);
    return true;
}

bool blob_fetcher::wait_for(std::uint64_t offset, std::uint64_t length, clock::time_point until) const {
    for (;;) {
        const std::uint32_t seen = map().generation();
        if (map().lookup(offset, length) != cache::presence::missing) return true;
        if (!map().wait_change(seen, until)) return false;
    }
}

status blob_fetcher::read(std::uint64_t offset, std::span<std::byte> into) {
    if (!range_within<std::uint64_t>(offset, into.size(), map().blob_bytes()))
        return fail(error_kind::corrupt, "the image reaches beyond the end of its blob");
    if (map().lookup(offset, into.size()) == cache::presence::missing) {
        const auto in_vain = std::make_shared<std::atomic<bool>>(false);
        want(offset, into.size(), [in_vain, m = &map()] {
            *in_vain = true;
            m->announce();
        });
        const auto until = clock::now() + options_.timeout + 1s;
        while (!wait_for(offset, into.size(), std::min(until, std::max(next_tick(), clock::now() + 1ms)))) {
            if (*in_vain || clock::now() >= until)
                return fail(error_kind::timeout, last_error().empty() ? "no answer" : last_error(), EIO);
            tick();
        }
    }
    if (map().lookup(offset, into.size()) != cache::presence::there)
        return fail(error_kind::corrupt, "the blob's bytes aren't those its digest names", EIO);
    return os::pread_exact(writer_.data(), into, offset);
}

// ---- planning and sending ----

void blob_fetcher::take_hits(clock::time_point now) {
    if (!touched_) return;
    touched_->take_new([&](cache::chunk_range range) {
        last_read_ = now;
        planner_.hit(range.first * cache::chunk_bytes, range.count() * cache::chunk_bytes, now);
    });
}

void blob_fetcher::pump(clock::time_point now) {
    if (closing_ || now < paused_until_) return;
    std::erase_if(demands_,
                  [this](const demand& d) { return map().lookup(d.offset, d.length) != cache::presence::missing; });
    for (const cache::planned_request& r : planner_.next(now)) send(r, now);
}

void blob_fetcher::send(const cache::planned_request& r, clock::time_point now) {
    const auto f = std::make_shared<flight>();
    f->fill = writer_.fill(r.chunks);
    flights_.emplace(r.id, f);
    source::read_request what;
    what.offset = f->fill.next_offset();
    what.length = f->fill.end_offset() - what.offset;
    what.deadline = now + options_.timeout;
    what.priority = priority_of(r.level);
    what.sink = [this, id = r.id, f](std::uint64_t, std::span<const std::byte> bytes) {
        return on_bytes(id, f, bytes);
    };
    f->read = source_.read(std::move(what), [this, id = r.id, chunks = r.chunks, f](source::read_result how) {
        on_end(id, chunks, f, how);
    });
}

status blob_fetcher::on_bytes(std::uint64_t id, const std::shared_ptr<flight>& f, std::span<const std::byte> bytes) {
    NEROFS_CHECK(f->fill.append(bytes));
    const std::lock_guard lock(mutex_);
    planner_.arrived(id, bytes.size(), clock::now());
    for (const std::uint64_t slow : planner_.called_off()) source_.cancel(flights_.at(slow)->read);
    return {};
}

void blob_fetcher::on_end(std::uint64_t id, cache::chunk_range chunks, const std::shared_ptr<flight>& f,
                          const source::read_result& how) {
    f->fill.give_up();
    std::vector<given_up> in_vain;
    bool no_room = false;
    {
        const std::lock_guard lock(mutex_);
        const auto now = clock::now();
        planner_.finished(id, now);
        flights_.erase(id);
        if (how.how) {
            pause_ = 0ms;
        } else if (how.how.error().kind != error_kind::cancelled) {
            last_error_ = how.how.error().message();
            in_vain = hopeless(chunks, how.how.error(), now);
            // Who begins to wait now must be able to see the source come back.
            pause_ = std::min(std::clamp<std::chrono::milliseconds>(pause_ * 2, first_pause, longest_pause),
                              options_.timeout / 4);
            paused_until_ = now + pause_;
            if (cache::is_out_of_space(how.how.error()) && now - no_room_said_ >= say_no_room_every) {
                no_room_said_ = now;
                no_room = true;
            }
        }
        take_hits(now);
        pump(now);
        landed_.notify_all();
    }
    for (const given_up& tell : in_vain) tell();
    if (no_room && options_.no_room) options_.no_room();
}

// Those who wait for the range and needn't any longer: what is wrong doesn't pass, or their time is over.
std::vector<blob_fetcher::given_up> blob_fetcher::hopeless(cache::chunk_range range, const error& why,
                                                           clock::time_point now) {
    std::vector<given_up> in_vain;
    const std::uint64_t first = range.first * cache::chunk_bytes;
    const std::uint64_t end = range.end * cache::chunk_bytes;
    for (auto d = demands_.begin(); d != demands_.end();) {
        const bool here = d->offset < end && d->offset + d->length > first &&
                          map().lookup(d->offset, d->length) == cache::presence::missing;
        if (!here || (may_pass(why) && d->until > now)) {
            ++d;
            continue;
        }
        planner_.forget(d->offset, d->length);
        in_vain.push_back(std::move(d->in_vain));
        d = demands_.erase(d);
    }
    // What others still wait for has just been forgotten with it.
    if (!in_vain.empty())
        for (const demand& d : demands_) planner_.miss(d.offset, d.length, cache::priority::demand, now);
    if (!in_vain.empty()) log::warning("reads were given up: " + why.message());
    return in_vain;
}

// ---- time ----

void blob_fetcher::tick() {
    std::vector<given_up> in_vain;
    {
        const std::lock_guard lock(mutex_);
        const auto now = clock::now();
        take_hits(now);
        if (planner_.waiting_for_others()) look_after_others(now);
        in_vain = expired(now);
        pump(now);
    }
    for (const given_up& tell : in_vain) tell();
}

// Other processes fetch what is waited for: those that died, or don't get on, have to be replaced.
void blob_fetcher::look_after_others(clock::time_point now) {
    (void)writer_.release_dead({0, map().chunks()});
    for (const demand& d : demands_)
        if (now - (d.until - options_.timeout) >= patience_with_others)
            (void)writer_.take_over(cache::chunks_of(d.offset, d.length));
}

std::vector<blob_fetcher::given_up> blob_fetcher::expired(clock::time_point now) {
    std::vector<given_up> in_vain;
    for (auto d = demands_.begin(); d != demands_.end();) {
        if (d->until > now || map().lookup(d->offset, d->length) != cache::presence::missing) {
            ++d;
            continue;
        }
        planner_.forget(d->offset, d->length);
        in_vain.push_back(std::move(d->in_vain));
        d = demands_.erase(d);
    }
    if (!in_vain.empty()) {
        for (const demand& d : demands_) planner_.miss(d.offset, d.length, cache::priority::demand, now);
        log::warning("reads were given up after " + std::to_string(options_.timeout / 1s) + " s" +
                     (last_error_.empty() ? "" : ": " + last_error_));
    }
    return in_vain;
}

blob_fetcher::clock::time_point blob_fetcher::next_tick() const {
    const std::lock_guard lock(mutex_);
    const auto now = clock::now();
    auto next = now + 1h;
    if (const auto due = planner_.wake_at(now)) next = std::min(next, *due);
    for (const demand& d : demands_) next = std::min(next, d.until);
    // A pause that begins on the source's thread isn't seen by who waits for this; its end is met all the same.
    if (planner_.waiting_for_others() || !demands_.empty()) next = std::min(next, now + look_at_others);
    if (touched_ && !flights_.empty()) next = std::min(next, now + look_at_hits);
    if (now < paused_until_) next = std::min(next, paused_until_);
    return std::max(next, now + 1ms);
}

// ---- facts ----

blob_fetcher::clock::duration blob_fetcher::unread_for() {
    const auto now = clock::now();
    const std::lock_guard lock(mutex_);
    take_hits(now);
    return now - last_read_;
}

std::uint64_t blob_fetcher::present_bytes() const {
    const std::uint64_t kept = options_.kept ? options_.kept->bytes() : 0;
    return std::min(map().present_bytes() + kept, map().blob_bytes());
}

std::uint64_t blob_fetcher::waiting() const {
    const std::lock_guard lock(mutex_);
    return static_cast<std::uint64_t>(std::count_if(demands_.begin(), demands_.end(), [this](const demand& d) {
        return map().lookup(d.offset, d.length) == cache::presence::missing;
    }));
}

std::uint64_t blob_fetcher::in_flight() const {
    const std::lock_guard lock(mutex_);
    return flights_.size();
}

std::uint64_t blob_fetcher::bytes_per_second() const {
    const std::lock_guard lock(mutex_);
    return static_cast<std::uint64_t>(link_.bytes_per_second());
}

std::uint64_t blob_fetcher::cheap_gap() const {
    const std::lock_guard lock(mutex_);
    return std::min(link_.bytes_per_round_trip() / cheap_gaps_per_round_trip, most_cheap_gap);
}

std::string blob_fetcher::last_error() const {
    const std::lock_guard lock(mutex_);
    return last_error_;
}

}  // namespace nerofs::fetch
