#include "mount/remote_image.h"

#include <fcntl.h>
#include <signal.h>

#include <algorithm>

#include "base/log.h"
#include "cache/presence/live_map.h"
#include "cache/presence/touch_map.h"
#include "cache/private_store.h"
#include "mount/cache_place.h"
#include "os/files.h"

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

}  // namespace

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
        image.request_.before_reading = nullptr;
        image.layers_.clear();
        image.metadata_file_.reset();
        if (opened) return image;
        // The end of its channel is the fetcher's death; everything else is its answer, or ours.
        if (opened.error().kind != error_kind::cancelled) return fail(opened.error());
        last = death_of(image.fetcher_, "fetcher", "while it opened the source");
    }
    return fail(std::move(last));
}

status remote_image::open_once(const std::optional<fetch::remote_identity>& known) {
    const auto time = 2 * request_.source.timeout + spare_time;
    NEROFS_CHECK(open_given_files());
    NEROFS_CHECK(start_fetcher(known && is_here(*known) ? known : std::nullopt));
    NEROFS_CHECK(tell("asking for " + request_.source.name));
    NEROFS_TRY(identity_, wait_for_identity(time));
    if (known && !(identity_ == *known))
        return fail(error_kind::usage, "it is not the image that was mounted: it has changed", ESTALE);
    NEROFS_CHECK(open_cache());
    NEROFS_CHECK(hand_over_cache(true));
    NEROFS_CHECK(tell("reading the first bytes of " + request_.source.name));
    NEROFS_TRY(info_, fetch::receive_info(fetcher_.channel, os::in_time(time)));
    return {};
}

status remote_image::tell(const std::string& what) const {
    if (request_.waits_for && !request_.waits_for(what)) return fail(error_kind::usage, "interrupted", EINTR);
    return {};
}

// Whether all that is made on this machine is still there, so that a fetcher needs nobody to go on with it.
bool remote_image::is_here(const fetch::remote_identity& known) {
    return std::all_of(known.parts.begin(), known.parts.end(), [this](const fetch::remote_part& p) {
        if (p.kind == fetch::part_kind::stored) return true;
        const auto key = cache::blob_key::from_name(p.key);
        if (!key || !open_store()) return false;
        if (p.kind == fetch::part_kind::content) return p.index.empty() || store_->open_index(p.index).has_value();
        const auto held = store_->open_blob(*key);
        const auto map = held ? cache::live_map::map(held->map(), p.size, false) : fail(held.error());
        return map && map->first_missing(0) == map->chunks();
    });
}

// An image of layers is opened when all of them have an index; those without are read as a whole first.
result<fetch::remote_identity> remote_image::wait_for_identity(std::chrono::milliseconds patience) {
    for (;;) {
        NEROFS_TRY(os::packet packet, fetcher_.channel.receive(os::in_time(patience)));
        switch (fetch::type_of(packet)) {
            case fetch::message::progress:
                NEROFS_CHECK(tell(fetch::decode_text(packet)));
                break;
            case fetch::message::pushed:
                pushed_ = fetch::decode_text(packet);
                break;
            case fetch::message::no_room:
                if (store_) free_room();
                break;
            case fetch::message::layers: {
                NEROFS_TRY(const auto layers, fetch::decode_layers(packet));
                NEROFS_CHECK(give_layer_files(layers));
                break;
            }
            case fetch::message::indexed: {
                NEROFS_TRY(const fetch::indexed_layer layer, fetch::decode_indexed(packet));
                NEROFS_CHECK(take_indexed(layer));
                break;
            }
            default:
                return fetch::decode_opened(packet);
        }
    }
}

// None, and a note for the user, when the cache can't be used.
cache::store* remote_image::open_store() {
    if (request_.cache.none || store_failed_) return nullptr;
    if (!store_) {
        auto opened = cache::store::open(store_options_for(request_.cache));
        if (!opened) {
            note_ = "what is fetched is kept for this use only: " + opened.error().message();
            store_failed_ = true;
            return nullptr;
        }
        store_.emplace(std::move(*opened));
    }
    return &*store_;
}

status remote_image::open_given_files() {
    for (const auto& [path, file] :
         {std::pair(&request_.source.tarindex, &given_.tarindex), std::pair(&request_.source.zinfo, &given_.zinfo)}) {
        if (path->empty() || *file) continue;
        NEROFS_TRY(*file, os::open_file(*path, O_RDONLY));
    }
    return {};
}

status remote_image::give_layer_files(const std::vector<fetch::stored_layer>& layers) {
    cache::store* const store = open_store();
    const auto new_file = [&] { return store ? store->new_file() : cache::new_private_file(private_directory); };
    layers_.clear();
    for (const fetch::stored_layer& l : layers) {
        layer_state& state = layers_.emplace_back();
        state.stored = l;
        NEROFS_TRY(state.files.content, new_file());
        NEROFS_TRY(state.files.fresh, new_file());
        if (store)
            for (const auto from :
                 {fetch::index_origin::whole_layer, fetch::index_origin::toc, fetch::index_origin::pushed})
                if (auto index = state.files.index ? std::nullopt : store->open_index(l.index_name(from))) {
                    state.files.index = std::move(*index);
                    state.files.from = from;
                }
        NEROFS_CHECK(
            fetch::send_layer_files(fetcher_.channel, static_cast<std::uint32_t>(layers_.size() - 1), state.files));
    }
    // What a user's tarindex makes of a layer is another image.
    const bool complete =
        std::all_of(layers_.begin(), layers_.end(), [](const layer_state& l) { return bool(l.files.index); });
    if (request_.before_reading && !complete && request_.source.tarindex.empty())
        NEROFS_CHECK(request_.before_reading());
    NEROFS_TRY(metadata_file_, new_file());
    return fetch::send_metadata_file(fetcher_.channel, metadata_file_, store_options_for(request_.cache).budget_bytes);
}

// A fetcher that dies after this begins with what it hadn't done.
status remote_image::take_indexed(const fetch::indexed_layer& what) {
    if (what.number >= layers_.size()) return fail(error_kind::corrupt, "the fetcher's answer is malformed");
    layer_state& layer = layers_[what.number];
    layer.files.index = duplicate(layer.files.fresh);
    const auto keep = [&] {
        if (const status kept = store_->keep_index(layer.stored.index_name(what.from), layer.files.fresh); !kept)
            log::warning("the index of " + layer.stored.digest + " isn't kept: " + kept.error().message());
    };
    if (what.from != fetch::index_origin::whole_layer) {
        if (store_) keep();
        return {};
    }
    if (what.size == 0) return {};
    NEROFS_TRY(const cache::blob_key key, cache::blob_key::from_digest(what.digest, what.size));
    if (!store_) {
        NEROFS_TRY(layer.content, cache::adopt_private(key, layer.files.content));
        return {};
    }
    NEROFS_TRY(layer.content, store_->adopt(key, layer.files.content));
    keep();
    if (const auto used = store_->make_room(0); !used) log::warning(used.error().message());
    return {};
}

result<remote_image> remote_image::adopt(request r, fetch::remote_identity identity,
                                         std::span<const serve::server_setup::blob> kept) {
    remote_image image;
    image.request_ = std::move(r);
    image.identity_ = std::move(identity);
    NEROFS_CHECK(image.open_given_files());
    const auto& parts = image.identity_.parts;
    const auto same = [](const serve::server_setup::blob& b, const fetch::remote_part& p) {
        return b.size == p.size && b.key == p.key;
    };
    if (!std::equal(kept.begin(), kept.end(), parts.begin(), parts.end(), same))
        return fail(error_kind::corrupt, "the server handed over other blobs than the record names");
    for (std::size_t i = 0; i < kept.size(); ++i) {
        const serve::server_setup::blob& b = kept[i];
        cache::blob_key key;
        if (!b.key.empty()) {
            NEROFS_TRY(key, cache::blob_key::from_name(b.key));
            (void)image.open_store();
        }
        part_state& state = image.parts_.emplace_back();
        state.held = cache::held_blob(key, duplicate(b.pin), duplicate(b.data), duplicate(b.map), duplicate(b.durable));
        state.touched = duplicate(b.touched);
        state.index = image.index_of(parts[i]);
    }
    NEROFS_CHECK(image.restart_fetcher());
    return image;
}

status remote_image::open_cache() {
    parts_.clear();
    for (fetch::remote_part& part : identity_.parts) {
        part_state& state = parts_.emplace_back();
        const auto layer = std::find_if(layers_.begin(), layers_.end(),
                                        [&](const layer_state& l) { return l.stored.digest == part.layer; });
        state.index = index_of(part);
        if (part.kind == fetch::part_kind::content && layer != layers_.end() && !part.index.empty()) {
            state.index = duplicate(layer->files.index);
            if (!store_) state.held = std::move(layer->content);
        }
        if (!state.held.data()) {
            NEROFS_TRY(state.held,
                       open_part(part, part.kind == fetch::part_kind::metadata ? metadata_file_ : fd_ref()));
        }
        if (!store_) part.key.clear();
        NEROFS_TRY(state.touched, cache::touch_map::make(part.size));
    }
    return {};
}

// Where a fetcher finds how a layer is decoded: in the index that is kept of it, or else the user's zinfo.
unique_fd remote_image::index_of(const fetch::remote_part& part) {
    if (part.kind != fetch::part_kind::content) return {};
    if (part.index.empty()) return duplicate(given_.zinfo);
    if (!store_) return {};
    auto index = store_->open_index(part.index);
    return index ? std::move(*index) : unique_fd();
}

// `whole`: a file that has become the part.
result<cache::held_blob> remote_image::open_part(fetch::remote_part& part, fd_ref whole) {
    cache::blob_key key;
    if (part.key.empty()) {
        // Only its size is used.
        NEROFS_TRY(key, cache::blob_key::from_digest("sha256:" + std::string(64, '0'), part.size));
        if (!request_.cache.none) note_ = "the server gives no strong ETag: what is fetched is kept for this use only";
    } else {
        NEROFS_TRY(key, cache::blob_key::from_name(part.key));
        if (key.size() != part.size) return fail(error_kind::corrupt, "the fetcher's answer is malformed");
        if (cache::store* const store = open_store()) {
            const bool checkable = part.kind == fetch::part_kind::content && !part.index.empty();
            const auto kept = checkable ? cache::kept_bytes::to_be_checked : cache::kept_bytes::believed;
            auto opened = whole ? store->adopt(key, whole) : store->open_blob(key, kept);
            if (opened || opened.error().kind == error_kind::usage) return opened;
            note_ = "what is fetched is kept for this use only: " + opened.error().message();
        }
    }
    part.key.clear();
    if (whole) return cache::adopt_private(key, whole);
    auto opened = cache::open_private(key, private_directory);
    return opened ? std::move(opened) : cache::open_private(key, "");
}

std::uint64_t remote_image::present_bytes() const {
    std::uint64_t sum = 0;
    for (std::size_t i = 0; i < parts_.size(); ++i)
        if (const auto map = cache::live_map::map(parts_[i].held.map(), identity_.parts[i].size, false))
            sum += map->present_bytes();
    return sum;
}

bool remote_image::verified() const {
    for (std::size_t i = 0; i < parts_.size(); ++i) {
        const auto map = cache::live_map::map(parts_[i].held.map(), identity_.parts[i].size, false);
        if (!map || !map->verified()) return false;
    }
    return true;
}

status remote_image::start_fetcher(const std::optional<fetch::remote_identity>& known) {
    NEROFS_TRY(fetcher_, start_helper("nerofs-fetcher", false, request_.quiet));
    started_ = std::chrono::steady_clock::now();
    present_at_start_ = present_bytes();
    return fetch::send_open(fetcher_.channel, {request_.source, request_.secrets, known}, given_);
}

status remote_image::hand_over_cache(bool check) {
    for (std::size_t i = 0; i < parts_.size(); ++i) {
        const part_state& part = parts_[i];
        const fetch::cache_request what{static_cast<std::uint32_t>(i), request_.fs_offset, request_.has_extra_devices,
                                        check};
        NEROFS_TRY(cache::writer_files files, part.held.for_writer());
        NEROFS_CHECK(fetch::send_cache(fetcher_.channel, what,
                                       {std::move(files.data), std::move(files.map), std::move(files.durable),
                                        duplicate(part.touched), duplicate(part.index)}));
    }
    return {};
}

std::chrono::milliseconds remote_image::patience() const {
    return request_.source.timeout + spare_time;
}

result<std::vector<serve::server_setup::blob>> remote_image::blobs() const {
    std::vector<serve::server_setup::blob> blobs;
    for (std::size_t i = 0; i < parts_.size(); ++i) {
        const cache::held_blob& held = parts_[i].held;
        serve::server_setup::blob& b = blobs.emplace_back();
        NEROFS_TRY(cache::reader_files files, held.for_reader());
        b.key = identity_.parts[i].key;
        b.size = identity_.parts[i].size;
        b.data = std::move(files.data);
        b.map = std::move(files.map);
        b.touched = duplicate(parts_[i].touched);
        b.pin = duplicate(held.pin());
        b.durable = duplicate(held.durable());
    }
    return blobs;
}

result<std::vector<serve::server_setup::piece>> remote_image::pieces(std::uint64_t bytes,
                                                                     std::vector<unique_fd>& files) const {
    std::vector<serve::server_setup::piece> all;
    const std::size_t count = identity_.parts.size();
    if (count == 1) {
        all.push_back({0, bytes, 0, request_.fs_offset, true});
        return all;
    }
    const auto zeros = static_cast<std::uint32_t>(files.size());
    for (std::uint32_t i = 0; i < count; ++i) {
        const std::uint64_t begin = identity_.offset_of(i);
        const std::uint64_t end = begin + identity_.parts[i].size;
        const std::uint64_t filled = identity_.offset_of(i + 1);
        all.push_back({begin, end - begin, i, 0, true});
        if (filled != end) all.push_back({end, filled - end, zeros, 0, false});
    }
    NEROFS_TRY(unique_fd file, os::make_memfd("nerofs-zeros", fetch::part_block_bytes));
    files.push_back(std::move(file));
    return all;
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

result<bool> remote_image::look_after(fd_ref interrupted) {
    const auto is_ready = [](fd_ref fd) { return fd && os::wait_readable(fd, os::in_time(0ms)).has_value(); };
    if (is_ready(fetcher_ended())) {
        std::chrono::milliseconds pause{0};
        const std::string how = bury_fetcher(pause);
        if (!request_.quiet) log::warning("the fetcher " + how + "; starting another");
        (void)os::wait_readable(interrupted, os::in_time(pause));
        NEROFS_CHECK(restart_fetcher());
        return true;
    }
    if (is_ready(fetcher_messages())) {
        (void)on_fetcher_message();
    } else {
        keep_to_budget();
    }
    return false;
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
    known.total_bytes = identity_.bytes();
    known.present_bytes = present_bytes();
    known.verified = verified();
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
    if (!store_) return;
    std::vector<cache::blob_key> keys;
    for (const part_state& p : parts_) keys.push_back(p.held.key());
    parts_.clear();
    for (std::size_t i = 0; i < keys.size(); ++i) {
        if (identity_.parts[i].key.empty()) continue;
        if (const status settled = store_->settle(keys[i]); !settled)
            log::warning("cannot settle the cache: " + settled.error().message());
    }
}

}  // namespace nerofs::mount
