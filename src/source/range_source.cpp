#include "source/range_source.h"

#include <algorithm>
#include <future>
#include <utility>

#include "source/engine.h"

namespace nerofs::source {
namespace {

// As soon as the client's thread comes to it.
constexpr http::time_point at_once = http::time_point::min();

}  // namespace

range_source::range_source(http::client& c, http::url from, std::shared_ptr<authorizer> who,
                           range_source_options options)
    : engine_(std::make_shared<engine>(c, std::move(from), std::move(who), std::move(options))) {}

range_source::~range_source() {
    std::promise<void> ended;
    engine_->client().at(at_once, [&](const status&) {
        engine_->cancel_all();
        ended.set_value();
    });
    ended.get_future().wait();
}

byte_source::id range_source::read(read_request what, completion done) {
    auto j = std::make_shared<engine::job>();
    j->number = engine_->next_number();
    j->what = std::move(what);
    j->done = [done = std::move(done)](const engine::job& over, engine::finished how) {
        done({std::move(how.how), over.position, over.requests});
    };
    engine_->client().at(at_once, [e = engine_, j](const status&) { e->start(j); });
    return j->number;
}

void range_source::cancel(id which) {
    engine_->client().at(at_once, [e = engine_, which](const status&) { e->cancel(which); });
}

void range_source::set_known(http::known_blob known) {
    engine_->client().at(at_once, [e = engine_, known = std::move(known)](const status&) { e->set_known(known); });
}

void range_source::probe(std::size_t keep, http::time_point deadline, probe_completion done) {
    auto head = std::make_shared<std::string>();
    auto j = std::make_shared<engine::job>();
    j->number = engine_->next_number();
    j->probing = true;
    j->what.length = std::max<std::size_t>(keep, 1);
    j->what.deadline = deadline;
    j->what.sink = [head](std::uint64_t offset, std::span<const std::byte> bytes) -> status {
        if (offset == 0) head->clear();
        head->append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
        return {};
    };
    j->done = [e = engine_.get(), head, done = std::move(done)](const engine::job&, engine::finished how) {
        blob_facts facts;
        if (how.answer) {
            facts.size = how.answer->total.value_or(0);
            facts.etag = how.answer->etag;
            facts.head = std::move(*head);
            e->set_known({facts.size, e->pins_etag() ? facts.etag : ""});
        } else if (how.failure->status == 416 && how.failure->total == std::uint64_t{0}) {
            e->set_known({0, ""});
        } else if (how.failure->status == 200 && how.failure->cause == http::failure_cause::refused) {
            facts.ranges = false;
            facts.size = how.failure->total.value_or(0);
        } else {
            return done(fail(std::move(how.failure->why)));
        }
        done(std::move(facts));
    };
    engine_->client().at(at_once, [e = engine_, j](const status&) { e->start(j); });
}

range_source_stats range_source::stats() const {
    return engine_->counts().get();
}

}  // namespace nerofs::source
