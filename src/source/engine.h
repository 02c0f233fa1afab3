// The state machine of a range_source. All of it runs on the client's thread. Internal to this folder.
#pragma once

#include <array>
#include <atomic>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <random>

#include "source/meter.h"
#include "source/range_source.h"

namespace nerofs::source {

class range_source::engine : public std::enable_shared_from_this<engine> {
  public:
    struct finished {
        status how;
        std::optional<http::failure> failure;  // if there was an answer to tell of
        std::optional<http::response> answer;  // the last one, when it went well
    };
    struct job;
    using ending = std::function<void(const job&, finished)>;

    // A read or a probe under way: waiting for the leader, for a place, for its time or for credentials, or in flight.
    struct job {
        id number = 0;
        read_request what;
        bool probing = false;  // size unknown; a broken body is begun anew
        ending done;

        std::uint64_t position = 0;  // of what.length, taken by the sink
        std::uint64_t counted = 0;   // of these, seen by make_progress
        std::uint32_t requests = 0;
        unsigned attempt = 0;   // failures since it came forward
        unsigned refusals = 0;  // wrong answers, fresh URLs and credentials refused, since it came forward
        unsigned hops = 0;
        std::optional<http::url> hop;  // where the last redirect leads, until it has proved itself
        std::optional<authorizer::rejection> rejected;
        std::string last_failure;

        bool over = false;
        bool has_place = false;
        http::client::id transfer = 0;
        http::client::id timer = 0;     // the end of its wait
        http::client::id deadline = 0;  // 0: none
        // Of the request in flight.
        std::uint64_t epoch = 0;
        http::url target;
        http::fields secrets;
    };
    using job_ref = std::shared_ptr<job>;

    engine(http::client& c, http::url from, std::shared_ptr<authorizer> who, range_source_options options);

    http::client& client() const { return client_; }
    const meter& counts() const { return meter_; }
    id next_number() { return next_number_.fetch_add(1, std::memory_order_relaxed); }  // any thread
    bool pins_etag() const { return options_.pin_etag; }

    void start(job_ref j);
    void cancel(id which);
    void cancel_all();
    void set_known(http::known_blob known) { known_ = std::move(known); }

  private:
    void begin(const job_ref& j);
    bool take_place(const job_ref& j);
    void give_back(const job_ref& j);
    void wait_until(const job_ref& j, http::time_point when);
    void authorize(const job_ref& j);
    void authorized(const job_ref& j, result<http::fields> given);
    void send(const job_ref& j, http::fields secrets);
    status take(const job_ref& j, std::uint64_t offset, std::span<const std::byte> bytes);
    void prove(const job_ref& j);

    void answered(const job_ref& j, http::outcome o);
    void redirected(const job_ref& j, const http::url& to);
    void failed(const job_ref& j, http::failure f);
    void turned_away(const job_ref& j, http::failure f);
    void refused(const job_ref& j, http::failure f);
    void retry_later(const job_ref& j, const http::failure& f);
    bool make_progress(const job_ref& j);
    void forget_location(std::uint64_t epoch);

    void finish(const job_ref& j, finished how);
    void give_up(const job_ref& j, http::failure f);
    void go_on();
    job_ref next_to_go();
    double random();

    http::client& client_;
    const http::url base_;
    const std::shared_ptr<authorizer> who_;
    const range_source_options options_;
    std::atomic<id> next_number_ = 1;
    http::known_blob known_;
    meter meter_;
    std::map<id, job_ref> jobs_;

    std::optional<http::url> location_;  // where the bytes are: what base_ led to
    std::uint64_t epoch_ = 1;            // changes with location_
    unsigned failures_ = 0;              // in a row, of any job
    http::time_point not_before_{};      // nobody asks until then
    job_ref leader_;                     // finds the way, or whether the server is there
    std::deque<job_ref> followers_;
    std::size_t busy_ = 0;                       // jobs that have a place
    std::array<std::deque<job_ref>, 3> places_;  // those that wait for one, by priority
    bool authorizing_ = false;
    std::deque<job_ref> unauthorized_;
    bool draining_ = false;  // authorized() is at work
    bool going_on_ = false;  // go_on() is
    bool closing_ = false;
    std::minstd_rand random_{std::random_device{}()};
};

}  // namespace nerofs::source
