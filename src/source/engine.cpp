#include "source/engine.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/checked.h"

namespace nerofs::source {

using http::failure;
using http::failure_cause;

namespace {

http::time_point now() {
    return std::chrono::steady_clock::now();
}

failure own_failure(error_kind kind, const http::url& target, std::string_view why) {
    failure f;
    f.why = make_error(kind, fmt::format("GET {}: {}", target.printable(), why));
    f.cause = failure_cause::caller;
    return f;
}

}  // namespace

range_source::engine::engine(http::client& c, http::url from, std::shared_ptr<authorizer> who,
                             range_source_options options)
    : client_(c), base_(std::move(from)), who_(std::move(who)), options_(std::move(options)) {}

void range_source::engine::start(job_ref j) {
    jobs_.emplace(j->number, j);
    const read_request& what = j->what;
    if (what.length == 0) return finish(j, {});
    const std::uint64_t size = known_.size && !j->probing ? *known_.size : UINT64_MAX;
    if (!range_within(what.offset, what.length, size))
        return give_up(j, own_failure(error_kind::usage, base_, "a read beyond the end of the blob"));
    if (what.deadline != http::time_point::max()) {
        j->deadline = client_.at(what.deadline, [self = shared_from_this(), j](const status& how) {
            if (!how || j->over) return;
            failure f = own_failure(error_kind::timeout, self->base_, "no answer in time");
            if (!j->last_failure.empty()) f.why.text = "given up at the deadline: " + j->last_failure;
            self->give_up(j, std::move(f));
        });
    }
    begin(j);
}

void range_source::engine::cancel(id which) {
    const auto found = jobs_.find(which);
    if (found != jobs_.end()) give_up(job_ref(found->second), own_failure(error_kind::cancelled, base_, "cancelled"));
}

void range_source::engine::cancel_all() {
    closing_ = true;
    while (!jobs_.empty()) cancel(jobs_.begin()->first);
}

// ---- before a request ----

// Asks now, or takes its place among those that wait.
void range_source::engine::begin(const job_ref& j) {
    if (j->over || closing_) return;
    const bool needs_leader = !location_ || failures_ >= options_.away_after;
    if (leader_ != j && needs_leader) {
        if (leader_) {
            give_back(j);
            return followers_.push_back(j);
        }
        leader_ = j;
    }
    if (leader_ != j) j->hop.reset();
    if (now() < not_before_) return wait_until(j, not_before_);
    if (!take_place(j)) return places_[static_cast<std::size_t>(j->what.priority)].push_back(j);
    if (j->probing) j->position = j->counted = 0;
    authorize(j);
}

// No more requests than connections: what waits in the client can't change its mind when the server goes away or the
// URL expires. The leader always finds room, as everybody waits for it.
bool range_source::engine::take_place(const job_ref& j) {
    if (j->has_place) return true;
    if (leader_ != j && busy_ >= client_.options().connections_per_host) return false;
    j->has_place = true;
    ++busy_;
    return true;
}

void range_source::engine::give_back(const job_ref& j) {
    if (!std::exchange(j->has_place, false)) return;
    --busy_;
    go_on();
}

void range_source::engine::wait_until(const job_ref& j, http::time_point when) {
    give_back(j);
    j->timer = client_.at(when, [self = shared_from_this(), j](const status& how) {
        j->timer = 0;
        if (j->over) return;
        if (!how) return self->give_up(j, own_failure(error_kind::cancelled, self->base_, "cancelled"));
        self->begin(j);
    });
}

void range_source::engine::authorize(const job_ref& j) {
    j->target = j->hop ? *j->hop : location_.value_or(base_);
    if (!who_ || !same_origin(j->target, base_)) return send(j, {});
    if (authorizing_) return unauthorized_.push_back(j);
    authorizing_ = true;
    const auto why = std::exchange(j->rejected, std::nullopt);
    who_->authorize(j->target, why, [self = shared_from_this(), j](result<http::fields> given) {
        if (self->client_.on_thread()) return self->authorized(j, std::move(given));
        auto kept = std::make_shared<result<http::fields>>(std::move(given));
        self->client_.at(http::time_point::min(),
                         [self, j, kept](const status&) { self->authorized(j, std::move(*kept)); });
    });
}

void range_source::engine::authorized(const job_ref& j, result<http::fields> given) {
    authorizing_ = false;
    if (!j->over && given) {
        send(j, std::move(*given));
    } else if (!j->over) {
        failure f;
        f.why = std::move(given).error();
        f.why.kind == error_kind::retryable ? retry_later(j, f) : give_up(j, std::move(f));
    }
    // One after the other, and not by recursion when each is answered at once.
    if (std::exchange(draining_, true)) return;
    while (!authorizing_ && !unauthorized_.empty()) {
        const job_ref next = unauthorized_.front();
        unauthorized_.pop_front();
        begin(next);  // it may have to follow by now
    }
    draining_ = false;
}

void range_source::engine::send(const job_ref& j, http::fields secrets) {
    http::request r;
    r.target = j->target;
    r.secrets = secrets;
    r.range = http::byte_range{j->what.offset + j->position, j->what.offset + j->what.length - 1};
    r.known = known_;
    r.progress = options_.progress;
    r.priority = j->what.priority;
    r.sink = [self = shared_from_this(), j](std::uint64_t offset, std::span<const std::byte> bytes) {
        return self->take(j, offset, bytes);
    };
    j->secrets = std::move(secrets);
    j->epoch = epoch_;
    ++j->requests;
    meter_.request();
    j->transfer = client_.start(std::move(r), [self = shared_from_this(), j](http::outcome o) {
        j->transfer = 0;
        if (!j->over) self->answered(j, std::move(o));
    });
}

// ---- during a request ----

status range_source::engine::take(const job_ref& j, std::uint64_t offset, std::span<const std::byte> bytes) {
    if (j->over) return fail(error_kind::cancelled, "cancelled");
    NEROFS_CHECK(j->what.sink(offset, bytes));
    const bool first = j->position == j->counted;
    j->position += bytes.size();
    meter_.bytes(bytes.size());
    if (first) prove(j);
    return {};
}

// Right bytes have come: the server is there, and where they came from is the place to ask.
void range_source::engine::prove(const job_ref& j) {
    failures_ = 0;
    if (leader_ == j) {
        if (location_ != j->target) {
            location_ = j->target;
            j->epoch = ++epoch_;
        }
        j->hop.reset();
    }
    if (!location_) return;
    leader_.reset();
    go_on();
}

bool range_source::engine::make_progress(const job_ref& j) {
    if (j->position == j->counted) return false;
    j->counted = j->position;
    j->attempt = j->refusals = j->hops = 0;
    return true;
}

// ---- after a request ----

void range_source::engine::answered(const job_ref& j, http::outcome o) {
    if (!o) return failed(j, std::move(o).error());
    if (o->location) return redirected(j, *o->location);
    meter_.measure(o->timing, o->delivered);
    if (j->position < j->what.length && !j->probing)
        return give_up(j, own_failure(error_kind::usage, j->target, "a read beyond the end of the blob"));
    finish(j, {{}, std::nullopt, std::move(*o)});
}

void range_source::engine::redirected(const job_ref& j, const http::url& to) {
    meter_.redirect();
    if (leader_ != j) {
        // What was remembered has moved on; the way is found from the start, by one.
        forget_location(j->epoch);
        if (++j->refusals >= options_.most_refusals)
            return give_up(j, own_failure(error_kind::permanent, j->target, "redirected again and again"));
        return begin(j);
    }
    if (++j->hops > options_.most_redirects)
        return give_up(j, own_failure(error_kind::permanent, base_, "too many redirects"));
    if (base_.secure && !to.secure && !client_.options().allow_plain)
        return give_up(j, own_failure(error_kind::permanent, base_, "redirected from https to plain http"));
    j->hop = to;
    authorize(j);
}

void range_source::engine::failed(const job_ref& j, failure f) {
    make_progress(j);
    if (f.cause == failure_cause::caller) return give_up(j, std::move(f));
    switch (f.why.kind) {
        case error_kind::retryable:
            return retry_later(j, f);
        case error_kind::auth:
        case error_kind::not_found:
            return turned_away(j, std::move(f));
        case error_kind::corrupt:
            return refused(j, std::move(f));
        default:
            break;
    }
    f.cause == failure_cause::refused ? refused(j, std::move(f)) : give_up(j, std::move(f));
}

// 401, 403, 404, 410: of the first URL it is about us, of another one it is about that URL.
void range_source::engine::turned_away(const job_ref& j, failure f) {
    const bool at_base = j->target == base_;
    if (at_base && (f.why.kind != error_kind::auth || !who_)) return give_up(j, std::move(f));
    if (at_base) j->rejected = {f.status, f.challenges, std::exchange(j->secrets, {})};
    j->hop.reset();
    j->hops = 0;
    // When another has found the way anew in the meantime, this wasn't a refusal of what is known now.
    const bool stale = j->epoch != epoch_;
    forget_location(j->epoch);
    if (!stale && ++j->refusals >= options_.most_refusals) return give_up(j, std::move(f));
    j->last_failure = f.why.text;
    j->refusals > 1 ? retry_later(j, f) : begin(j);
}

// An answer that isn't what was asked for. It may be one bad server of many, or a bad moment.
void range_source::engine::refused(const job_ref& j, failure f) {
    const bool empty = j->probing && f.total == std::uint64_t{0};
    if (empty || ++j->refusals >= options_.most_refusals) return give_up(j, std::move(f));
    retry_later(j, f);
}

void range_source::engine::retry_later(const job_ref& j, const failure& f) {
    meter_.retry(f.why.text);
    j->last_failure = f.why.text;
    if (f.why.kind == error_kind::retryable && f.delivered == 0) ++failures_;
    const bool away = failures_ >= options_.away_after;
    const unsigned attempt = std::max(j->attempt++, away ? failures_ - options_.away_after : 0);
    const http::time_point when = now() + http::retry_delay(options_.retry, attempt, f.retry_after, random());
    // Others would hear the same.
    if (f.retry_after || (away && (!leader_ || leader_ == j))) not_before_ = std::max(not_before_, when);
    wait_until(j, when);
}

void range_source::engine::forget_location(std::uint64_t epoch) {
    if (epoch != epoch_) return;
    if (location_) meter_.refresh();
    location_.reset();
    ++epoch_;
}

// ---- the end ----

void range_source::engine::give_up(const job_ref& j, failure f) {
    error why = f.why;
    finish(j, {fail(std::move(why)), std::move(f), std::nullopt});
}

void range_source::engine::finish(const job_ref& j, finished how) {
    const job_ref kept = j;
    if (std::exchange(kept->over, true)) return;
    for (const http::client::id which : {kept->transfer, kept->timer, kept->deadline})
        if (which != 0) client_.cancel(which);
    jobs_.erase(kept->number);
    std::erase(followers_, kept);
    std::erase(unauthorized_, kept);
    for (auto& waiting : places_) std::erase(waiting, kept);
    if (leader_ == kept) leader_.reset();
    give_back(kept);
    go_on();
    const ending done = std::move(kept->done);
    done(*kept, std::move(how));
}

// Lets those go on that waited for the leader or for a place. If a leader is still needed, the first becomes it.
void range_source::engine::go_on() {
    if (std::exchange(going_on_, true)) return;
    while (const job_ref next = next_to_go()) begin(next);
    going_on_ = false;
}

range_source::engine::job_ref range_source::engine::next_to_go() {
    const auto take = [](std::deque<job_ref>& from) {
        job_ref first = from.front();
        from.pop_front();
        return first;
    };
    if (!leader_ && !followers_.empty()) return take(followers_);
    if (busy_ >= client_.options().connections_per_host) return nullptr;
    for (auto& waiting : places_)
        if (!waiting.empty()) return take(waiting);
    return nullptr;
}

double range_source::engine::random() {
    return options_.random ? options_.random() : std::uniform_real_distribution<>(0, 1)(random_);
}

}  // namespace nerofs::source
