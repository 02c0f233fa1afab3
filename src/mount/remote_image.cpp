#include "mount/remote_image.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/statvfs.h>

#include <algorithm>
#include <filesystem>

#include "base/log.h"
#include "cache/presence/live_map.h"
#include "cache/presence/touch_map.h"
#include "cache/private_store.h"

namespace nerofs::mount {
namespace {

using namespace std::chrono_literals;

constexpr int tries = 3;
constexpr auto spare_time = 15s;         // beyond the source's timeout, for who enforces it to say so
constexpr auto statistics_time = 200ms;  // a fetcher that lives answers at once
constexpr auto longest_pause = 5s;       // between restarts
constexpr auto quick_death = 2s;
constexpr std::uint64_t room_ahead = 64u << 20;     // what is fetched until the budget is looked at again
constexpr std::uint64_t room_at_once = 256u << 20;  // freed when the file system is full
constexpr const char* private_directory = "/var/tmp";

cache::store_options store_options_for(const ctl::cache_choice& choice) {
    cache::store_options options;
    if (!choice.directory.empty()) options.directory = choice.directory;
    options.budget_bytes = choice.bytes != 0 ? choice.bytes : default_cache_budget(options.directory);
    return options;
}

}  // namespace

std::uint64_t default_cache_budget(const std::string& directory) {
    // The first mount makes the directory; until then its nearest parent tells.
    std::filesystem::path place(directory);
    struct statvfs found {};
    while (::statvfs(place.c_str(), &found) != 0) {
        if (!place.has_relative_path()) return 0;
        place = place.parent_path();
    }
    return found.f_frsize * found.f_blocks / 4;
}

remote_image::~remote_image() {
    if (fetcher_.process) {
        fetcher_.process.kill(SIGKILL);
        fetcher_.process.reap();
    }
}

result<remote_image> remote_image::open(request r, const std::optional<fetch::remote_identity>& known) {
    error last;
    for (int i = 0; i < tries; ++i) {
        remote_image image;
        image.request_ = r;
        const status opened = image.open_once(known);
        image.request_.waits_for = nullptr;  // whoever asked need not outlive this
        if (opened) return image;
        // The end of its channel is the fetcher's death; everything else is its answer, or ours.
        if (opened.error().kind != error_kind::cancelled) return fail(opened.error());
        const bool gone = os::wait_readable(image.fetcher_.process.pidfd(), os::in_time(1s)).has_value();
        if (!gone) image.fetcher_.process.kill(SIGKILL);
        const std::string how = image.fetcher_.process.reap();
        image.fetcher_ = {};
        last =
            make_error(error_kind::permanent,
                       "the fetcher (nerofs-fetcher) " + (gone ? how : "hung up") + " while it opened the source", EIO)
                .with_hint("see /run/nerofs/log");
    }
    return fail(std::move(last));
}

status remote_image::open_once(const std::optional<fetch::remote_identity>& known) {
    const auto time = 2 * request_.source.timeout + spare_time;
    const auto tell = [this](const std::string& what) {
        if (request_.waits_for) request_.waits_for(what);
    };
    NEROFS_CHECK(start_fetcher(known));
    tell("asking for " + request_.source.name);
    NEROFS_TRY(identity_, fetch::receive_opened(fetcher_.channel, os::in_time(time)));
    if (known && !(identity_ == *known))
        return fail(error_kind::usage, "it is not the image that was mounted: it has changed", ESTALE);
    NEROFS_CHECK(open_cache());
    NEROFS_CHECK(hand_over_cache(true));
    tell("reading the first bytes of " + request_.source.name);
    NEROFS_TRY(info_, fetch::receive_info(fetcher_.channel, os::in_time(time)));
    return {};
}

result<remote_image> remote_image::adopt(request r, fetch::remote_identity identity,
                                         const serve::server_setup::blob& kept) {
    remote_image image;
    image.request_ = std::move(r);
    image.identity_ = std::move(identity);
    if (kept.size != image.identity_.size || kept.key != image.identity_.key)
        return fail(error_kind::corrupt, "the server handed over another blob than the record names");
    cache::blob_key key;
    if (!kept.key.empty()) {
        NEROFS_TRY(key, cache::blob_key::from_name(kept.key));
        if (auto opened = cache::store::open(store_options_for(image.request_.cache)))
            image.store_.emplace(std::move(*opened));
    }
    image.held_ =
        cache::held_blob(key, duplicate(kept.pin), duplicate(kept.data), duplicate(kept.map), duplicate(kept.durable));
    image.touched_ = duplicate(kept.touched);
    NEROFS_CHECK(image.restart_fetcher());
    return image;
}

status remote_image::open_cache() {
    const ctl::cache_choice& choice = request_.cache;
    cache::blob_key key;
    if (identity_.key.empty()) {
        // Only its size is used.
        NEROFS_TRY(key, cache::blob_key::from_digest("sha256:" + std::string(64, '0'), identity_.size));
        if (!choice.none) note_ = "the server gives no strong ETag: what is fetched is kept for this mount only";
    } else {
        NEROFS_TRY(key, cache::blob_key::from_name(identity_.key));
        if (key.size() != identity_.size) return fail(error_kind::corrupt, "the fetcher's answer is malformed");
    }
    if (!choice.none && !identity_.key.empty()) {
        auto opened = [&]() -> result<cache::held_blob> {
            NEROFS_TRY(cache::store s, cache::store::open(store_options_for(choice)));
            store_.emplace(std::move(s));
            return store_->open_blob(key);
        }();
        if (opened) {
            held_ = std::move(*opened);
        } else if (opened.error().kind == error_kind::usage) {
            return fail(std::move(opened).error());
        } else {
            note_ = "what is fetched is kept for this mount only: " + opened.error().message();
            store_.reset();
        }
    }
    if (!held_.data()) {
        auto opened = cache::open_private(key, private_directory);
        if (!opened) {
            NEROFS_TRY(held_, cache::open_private(key, ""));
        } else {
            held_ = std::move(*opened);
        }
        identity_.key.clear();
    }
    NEROFS_TRY(touched_, cache::touch_map::make(identity_.size));
    return {};
}

std::uint64_t remote_image::present_bytes() const {
    if (!held_.map()) return 0;
    const auto map = cache::live_map::map(held_.map(), identity_.size, false);
    return map ? map->present_bytes() : 0;
}

status remote_image::start_fetcher(const std::optional<fetch::remote_identity>& known) {
    NEROFS_TRY(fetcher_, start_helper("nerofs-fetcher", false));
    started_ = std::chrono::steady_clock::now();
    present_at_start_ = present_bytes();
    return fetch::send_open(fetcher_.channel, {request_.source, request_.secrets, known});
}

status remote_image::hand_over_cache(bool check) {
    fetch::cache_request what;
    what.size = identity_.size;
    what.digest = identity_.digest;
    what.fs_offset = request_.fs_offset;
    what.has_extra_devices = request_.has_extra_devices;
    what.check = check;
    NEROFS_TRY(cache::writer_files files, held_.for_writer());
    return fetch::send_cache(
        fetcher_.channel, what,
        {std::move(files.data), std::move(files.map), std::move(files.durable), duplicate(touched_)});
}

std::chrono::milliseconds remote_image::patience() const {
    return request_.source.timeout + spare_time;
}

result<serve::server_setup::blob> remote_image::blob() const {
    serve::server_setup::blob b;
    NEROFS_TRY(cache::reader_files files, held_.for_reader());
    b.key = identity_.key;
    b.size = identity_.size;
    b.data = std::move(files.data);
    b.map = std::move(files.map);
    b.touched = duplicate(touched_);
    b.pin = duplicate(held_.pin());
    b.durable = duplicate(held_.durable());
    return b;
}

unique_fd remote_image::connect_server() {
    if (!fetcher_.channel) return {};
    auto ends = os::channel::make_pair();
    if (!ends || !fetch::send_server(fetcher_.channel, ends->first.fd())) return {};
    return ends->second.release();
}

// ---- the fetcher's life ----

bool remote_image::on_fetcher_message() {
    const auto packet = fetcher_.channel.receive_now();
    if (!packet) return packet.error().kind == error_kind::retryable;
    if (fetch::type_of(*packet) == fetch::message::statistics_answer) asked_ = false;
    if (fetch::type_of(*packet) == fetch::message::no_room && store_) free_room();
    return true;
}

void remote_image::free_room() {
    const auto freed = store_->free_bytes(room_at_once);
    if (!freed)
        log::error("the cache's file system is full, and nothing can be removed: " + freed.error().message());
    else if (freed->freed_bytes == 0)
        log::error("the cache's file system is full, and all images in the cache are in use");
}

std::string remote_image::bury_fetcher(std::chrono::milliseconds& pause) {
    fetcher_.channel.close();
    std::string how = fetcher_.process.reap();
    fetcher_ = {};
    // One that brought something before it died is replaced at once; one that dies of its work would do so for ever.
    const std::uint64_t now_present = present_bytes();
    const bool progressed =
        now_present != present_at_start_ || std::chrono::steady_clock::now() - started_ > quick_death;
    pause_ = progressed ? 0ms : std::clamp<std::chrono::milliseconds>(pause_ * 2, 20ms, longest_pause);
    pause = pause_;
    return how;
}

// What it is to serve is known, so nobody is asked and nothing is waited for.
status remote_image::restart_fetcher() {
    ++restarts_;
    asked_ = false;
    NEROFS_CHECK(start_fetcher(identity_));
    return hand_over_cache(false);
}

bool remote_image::fetcher_answers() {
    if (!fetcher_.channel) return true;
    if (asked_) return false;
    asked_ = static_cast<bool>(fetch::send_simple(fetcher_.channel, fetch::message::statistics));
    return true;
}

fetch::fetch_statistics remote_image::statistics() {
    if (fetcher_.channel && fetch::send_simple(fetcher_.channel, fetch::message::statistics)) {
        const auto until = os::in_time(statistics_time);
        for (;;) {
            const auto packet = fetcher_.channel.receive(until);
            if (!packet) break;
            auto answer = fetch::decode_statistics(*packet);
            if (!answer) continue;
            asked_ = false;
            return std::move(*answer);
        }
    }
    fetch::fetch_statistics known;
    known.total_bytes = identity_.size;
    if (const auto map = cache::live_map::map(held_.map(), identity_.size, false)) {
        known.present_bytes = map->present_bytes();
        known.verified = map->verified();
    }
    known.last_failure = "the fetcher doesn't answer";
    return known;
}

status remote_image::fetch_all() const {
    if (!fetcher_.channel) return fail(error_kind::retryable, "its fetcher is being restarted");
    return fetch::send_simple(fetcher_.channel, fetch::message::fill);
}

void remote_image::keep_to_budget() {
    if (!store_) return;
    const std::uint64_t present = present_bytes();
    if (present == present_at_last_look_) return;
    present_at_last_look_ = present;
    if (const auto used = store_->make_room(room_ahead); !used)
        log::warning("cannot keep the cache to its size: " + used.error().message());
}

void remote_image::close() {
    if (fetcher_.process) {
        fetcher_.process.kill(SIGKILL);
        fetcher_.process.reap();
        fetcher_ = {};
    }
    fetch::wipe(request_.secrets);
    if (!store_ || identity_.key.empty()) return;
    const cache::blob_key key = held_.key();
    held_ = {};
    if (const status settled = store_->settle(key); !settled)
        log::warning("cannot settle the cache: " + settled.error().message());
}

}  // namespace nerofs::mount
