#include "fetch/remote_fetch.h"

#include <fcntl.h>

#include <algorithm>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "base/fault.h"
#include "base/log.h"
#include "cache/presence/miss_messages.h"
#include "cache/verifier.h"
#include "fetch/blob_fetcher.h"
#include "fetch/local_check.h"
#include "fetch/open_remote.h"
#include "fetch/prefetch.h"
#include "fetch/sandbox.h"
#include "os/event_loop.h"

namespace nerofs::fetch {
namespace {

using namespace std::chrono_literals;

constexpr auto cache_time = 60s;       // for the keeper to open the cache, which may have to evict first
constexpr auto checkpoint_every = 5s;  // what a crash of the machine costs at most, in fetching
constexpr auto verify_pause = 1s;      // while others fetch, or there is nothing to check yet
constexpr auto verify_put_off = 5s;    // at most, while somebody reads what he hasn't read before
constexpr std::uint64_t verify_step = 8u << 20;

// A server's channel; who waits for bytes answers on it from any thread.
struct server_link {
    explicit server_link(os::channel c) : channel(std::move(c)) {}
    std::mutex mutex;
    os::channel channel;
};

// Makes durable what has come and checks the blob when it is whole: what may wait for the disk and nobody waits for.
class upkeep {
  public:
    upkeep(cache::blob_writer& writer, blob_fetcher& blob, std::string digest)
        : writer_(writer), blob_(blob), digest_(std::move(digest)) {
        thread_ = std::thread([this] { run(); });
    }
    ~upkeep() {
        {
            const std::lock_guard lock(mutex_);
            stopping_ = true;
        }
        stop_.notify_all();
        thread_.join();
    }

  private:
    bool sleep(std::chrono::milliseconds time) {
        std::unique_lock lock(mutex_);
        return !stop_.wait_for(lock, time, [this] { return stopping_; });
    }

    void run() {
        auto last = std::chrono::steady_clock::now();
        std::uint32_t seen = writer_.map().generation() - 1;
        while (sleep(verify())) {
            const auto now = std::chrono::steady_clock::now();
            if (now - last < checkpoint_every || writer_.map().generation() == seen) continue;
            last = now;
            seen = writer_.map().generation();
            if (const auto done = writer_.checkpoint(); !done) log::error(done.error().message());
        }
    }

    // Does a step of the check; how long to pause before the next.
    std::chrono::milliseconds verify() {
        if (digest_.empty() || writer_.map().verified() || !writer_.complete()) return verify_pause;
        // The processor is the reader's first.
        if (put_off_ < verify_put_off && blob_.unread_for() < verify_pause) {
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

    cache::blob_writer& writer_;
    blob_fetcher& blob_;
    std::string digest_;
    std::chrono::milliseconds put_off_{0};
    std::optional<cache::blob_verifier> verifier_;
    std::mutex mutex_;
    std::condition_variable stop_;
    bool stopping_ = false;
    std::thread thread_;
};

class remote_fetch {
  public:
    remote_fetch(os::channel keeper, os::event_loop loop) : keeper_(std::move(keeper)), loop_(std::move(loop)) {}

    status run(const os::packet& open);

  private:
    status open_cache(const open_request& request);
    void start_prefetch(prefetch_mode mode, std::uint64_t begin);
    void on_keeper();
    void add_server(unique_fd socket);
    void on_server(const std::shared_ptr<server_link>& link);
    void remove_server(const std::shared_ptr<server_link>& link);
    void schedule();
    fetch_statistics statistics() const;

    os::channel keeper_;
    os::event_loop loop_;
    std::unique_ptr<http::client> client_;
    opened_remote source_;
    std::optional<cache::blob_writer> writer_;
    std::unique_ptr<blob_fetcher> blob_;
    std::unique_ptr<upkeep> upkeep_;
    std::unique_ptr<metadata_prefetch> prefetch_;
    std::vector<std::shared_ptr<server_link>> servers_;
    std::optional<os::event_loop::timer_id> timer_;
};

status remote_fetch::run(const os::packet& open) {
    NEROFS_TRY(open_request request, decode_open(open));
    const auto prepare = [&]() -> status {
        const http::client_options options = client_options_for(request);
        NEROFS_CHECK(enter_sandbox({options.ca_file}));
        NEROFS_TRY(client_, http::client::make(options));
        NEROFS_TRY(source_, open_remote(*client_, request));
        wipe(request.secrets);
        return {};
    };
    if (const status prepared = prepare(); !prepared) return send_error(keeper_, prepared.error());
    fault::point("fetcher.opened");
    NEROFS_CHECK(send_opened(keeper_, source_.identity));
    NEROFS_CHECK(open_cache(request));
    NEROFS_CHECK(loop_.add(keeper_.fd(), [this] { on_keeper(); }));
    schedule();
    const status end = loop_.run();
    // The last first: each uses those before it.
    prefetch_.reset();
    upkeep_.reset();
    blob_.reset();
    return end;
}

status remote_fetch::open_cache(const open_request& request) {
    NEROFS_TRY(os::packet packet, keeper_.receive(os::in_time(cache_time)));
    cache_descriptors fds;
    NEROFS_TRY(const cache_request wanted, decode_cache(packet, fds));
    const auto set_up = [&]() -> result<image_info> {
        NEROFS_TRY(cache::touch_map touched, cache::touch_map::map(fds.touched, wanted.size, false));
        NEROFS_TRY(auto writer, cache::blob_writer::attach(
                                    {std::move(fds.data), std::move(fds.map), std::move(fds.durable)}, wanted.size));
        writer_.emplace(std::move(writer));
        blob_fetcher_options options;
        options.timeout = request.source.timeout;
        options.background_rate = request.source.background_rate;
        options.limits.rush = request.source.prefetch != prefetch_mode::none && request.source.background_rate == 0;
        options.no_room = [to = std::make_shared<os::channel>(duplicate(keeper_.fd()))] {
            (void)send_simple(*to, message::no_room);  // a dead keeper is noticed elsewhere
        };
        blob_ = std::make_unique<blob_fetcher>(*writer_, *source_.bytes, std::move(touched), std::move(options));
        upkeep_ = std::make_unique<upkeep>(*writer_, *blob_, wanted.digest);
        if (!wanted.check) return image_info();
        fault::point("fetcher.check");
        blob_image image(*blob_, wanted.fs_offset);
        if (wanted.fs_offset >= wanted.size) return fail(error_kind::usage, "its file system offset is beyond its end");
        return check_image(image, wanted.size - wanted.fs_offset, wanted.has_extra_devices);
    };
    const auto info = set_up();
    if (!info) {
        (void)send_error(keeper_, info.error());
        return fail(error_kind::cancelled, "");
    }
    fault::point("fetcher.answer");
    if (wanted.check) NEROFS_CHECK(send_info(keeper_, *info));
    start_prefetch(request.source.prefetch, wanted.fs_offset);
    return {};
}

void remote_fetch::start_prefetch(prefetch_mode mode, std::uint64_t begin) {
    if (mode == prefetch_mode::none) return;
    prefetch_ = std::make_unique<metadata_prefetch>(*blob_, begin);
    if (mode == prefetch_mode::all) blob_->want_all();
}

void remote_fetch::on_keeper() {
    auto packet = keeper_.receive_now();
    if (!packet) {
        if (packet.error().kind == error_kind::retryable) return;
        loop_.remove(keeper_.fd());
        keeper_.close();
        if (servers_.empty()) loop_.stop();
        return;
    }
    switch (type_of(*packet)) {
        case message::server:
            if (packet->fds.size() == 1) add_server(std::move(packet->fds.front()));
            break;
        case message::statistics:
            (void)send_statistics(keeper_, statistics());
            break;
        case message::fill:
            blob_->want_all();
            schedule();
            break;
        default:
            log::error("an unknown message of the keeper was ignored");
    }
}

void remote_fetch::add_server(unique_fd socket) {
    auto link = std::make_shared<server_link>(os::channel(std::move(socket)));
    if (!loop_.add(link->channel.fd(), [this, link] { on_server(link); })) return;
    servers_.push_back(std::move(link));
}

void remote_fetch::on_server(const std::shared_ptr<server_link>& link) {
    const auto packet = link->channel.receive_now();
    if (!packet) {
        if (packet.error().kind != error_kind::retryable) remove_server(link);
        return;
    }
    const auto pieces = cache::decode_missing(*packet);
    if (!pieces) {
        log::error(pieces.error().message());
        return;
    }
    fault::point("fetcher.wanted");
    for (const cache::missing_piece& p : *pieces) {
        blob_->want(p.offset, p.length, [link, id = p.id] {
            const std::lock_guard lock(link->mutex);
            (void)cache::send_read_failed(link->channel, id);
        });
    }
    schedule();
}

void remote_fetch::remove_server(const std::shared_ptr<server_link>& link) {
    loop_.remove(link->channel.fd());
    {
        const std::lock_guard lock(link->mutex);
        link->channel.close();
    }
    std::erase(servers_, link);
    if (servers_.empty() && !keeper_) loop_.stop();
}

void remote_fetch::schedule() {
    if (timer_) loop_.cancel(*timer_);
    timer_ = loop_.at(blob_->next_tick(), [this] {
        timer_.reset();
        blob_->tick();
        schedule();
    });
}

fetch_statistics remote_fetch::statistics() const {
    const source::range_source_stats from = source_.bytes->stats();
    fetch_statistics s;
    s.present_bytes = blob_->map().present_bytes();
    s.total_bytes = blob_->map().blob_bytes();
    s.requests = from.requests;
    s.fetched_bytes = from.bytes;
    s.retries = from.retries;
    s.redirects = from.redirects;
    s.waiting_reads = blob_->waiting();
    s.in_flight = blob_->in_flight();
    s.latency_us = static_cast<std::uint64_t>(from.latency.count());
    s.bytes_per_second = blob_->bytes_per_second();
    s.verified = blob_->map().verified();
    s.last_failure = from.last_failure;
    return s;
}

}  // namespace

status run_remote_fetch(os::channel keeper, const os::packet& open) {
    NEROFS_TRY(os::event_loop loop, os::event_loop::make());
    return remote_fetch(std::move(keeper), std::move(loop)).run(open);
}

}  // namespace nerofs::fetch
