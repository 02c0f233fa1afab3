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
#include "fetch/blob_fetcher.h"
#include "fetch/decoding_source.h"
#include "fetch/given_layer.h"
#include "fetch/local_check.h"
#include "fetch/open_remote.h"
#include "fetch/prefetch.h"
#include "fetch/sandbox.h"
#include "fetch/upkeep.h"
#include "os/event_loop.h"

namespace nerofs::fetch {
namespace {

using namespace std::chrono_literals;

constexpr auto cache_time = 60s;  // for the keeper to open the cache, which may have to evict first

// A server's channel; who waits for bytes answers on it from any thread.
struct server_link {
    explicit server_link(os::channel c) : channel(std::move(c)) {}
    std::mutex mutex;
    os::channel channel;
};

// Made on this machine, and complete when it got its name.
class no_source final : public source::byte_source {
  public:
    id read(source::read_request, completion done) override {
        std::thread([done = std::move(done)] {
            done({fail(error_kind::permanent, "the metadata of the layers is gone from the cache", EIO), 0, 0});
        }).detach();
        return 0;
    }
    void cancel(id) override {}
};

// Chunks of the cache that lie within what is decoded with these.
cache::chunk_range chunks_together(const layer::layer_index& layer, cache::chunk_range some) {
    const std::uint64_t end = layer.content_bytes;
    const layer::content_range all =
        decoded_together(layer, {some.first * cache::chunk_bytes, std::min(some.end * cache::chunk_bytes, end)});
    const cache::chunk_range within = cache::chunks_within(all.begin, all.end, end);
    return {std::min(some.first, within.first), std::max(some.end, within.end)};
}

// Where the bytes of what isn't stored as such come from; none: they are as stored.
result<std::unique_ptr<source::byte_source>> bytes_of_part(const remote_part& part, fd_ref index,
                                                           source::byte_source* stored,
                                                           const cache::blob_writer& writer,
                                                           blob_fetcher_options& options) {
    if (part.kind == part_kind::metadata) return std::make_unique<no_source>();
    if (part.kind == part_kind::stored) return nullptr;
    const bool by_zinfo = part.index.empty();
    auto known = by_zinfo ? index_of_zinfo(index, part) : read_layer_index(index, part.layer);
    if (!known) return fail(std::move(known).error().in(by_zinfo ? "zinfo" : "index of layer " + part.layer));
    known->tarindex = {};
    known->unresolved = {};
    const auto layer = std::make_shared<const layer::layer_index>(std::move(*known));
    if (!by_zinfo) options.kept = std::make_shared<kept_chunks>(writer, layer);
    options.limits.fetched_together = [layer](cache::chunk_range some) { return chunks_together(*layer, some); };
    // The link is measured by units, and so seems slower than it is.
    options.limits.max_block_bytes = std::max<std::uint64_t>(options.limits.max_block_bytes, layer->unit_bytes * 2);
    return std::make_unique<decoding_source>(layer, *stored);
}

// The keeper as the owner of the cache, while an image is opened.
class keeper_work final : public layer_work {
  public:
    explicit keeper_work(const os::channel& keeper) : keeper_(keeper) {}

    result<files> files_for(const std::vector<stored_layer>& layers) override {
        NEROFS_CHECK(send_layers(keeper_, layers));
        files given;
        for (std::uint32_t i = 0; i < layers.size(); ++i) {
            NEROFS_TRY(os::packet packet, keeper_.receive(os::in_time(cache_time)));
            NEROFS_TRY(layer_files one, decode_layer_files(packet, i));
            given.layers.push_back(std::move(one));
        }
        NEROFS_TRY(os::packet packet, keeper_.receive(os::in_time(cache_time)));
        NEROFS_TRY(given.metadata, decode_metadata_file(packet, given.most_content_bytes));
        return given;
    }
    status indexed(const indexed_layer& which) override {
        NEROFS_CHECK(send_indexed(keeper_, which));
        fault::point("fetcher.indexed");
        return {};
    }
    // A keeper that is slow to read them misses some.
    status progress(std::string_view what) override {
        const status sent = send_progress(keeper_, what);
        return sent || sent.error().kind == error_kind::retryable ? status() : sent;
    }
    status pushed(std::string_view digest) override { return send_pushed(keeper_, digest); }
    status no_room() override { return send_simple(keeper_, message::no_room); }

  private:
    const os::channel& keeper_;
};

// A part of the device: where its bytes come from, and what fills its blob in the cache.
struct device_part {
    std::unique_ptr<source::byte_source> decoded;  // over what is stored, where that isn't the part's bytes
    std::optional<cache::blob_writer> writer;
    std::unique_ptr<blob_fetcher> blob;
};

// All parts, one after the other, as the image that begins at `begin`; reading waits as blob_fetcher::read() does.
class device_image final : public erofs::byte_reader {
  public:
    device_image(std::span<const device_part> parts, const remote_identity& identity, std::uint64_t begin)
        : parts_(parts), identity_(identity), begin_(begin) {}
    status read_exact(std::uint64_t offset, std::span<std::byte> into) override {
        offset += begin_;
        for (std::size_t i = 0; i < parts_.size(); ++i) {
            const std::uint64_t begin = identity_.offset_of(i);
            const std::uint64_t end = begin + identity_.parts[i].size;
            if (offset < begin || offset >= end) continue;
            const std::size_t n = std::min<std::uint64_t>(into.size(), end - offset);
            NEROFS_CHECK(parts_[i].blob->read(offset - begin, into.first(n)));
            if (n == into.size()) return {};
            into = into.subspan(n);
            offset += n;
        }
        return fail(error_kind::corrupt, "a read beyond the end of the device");
    }

  private:
    std::span<const device_part> parts_;
    const remote_identity& identity_;
    std::uint64_t begin_;
};

class remote_fetch {
  public:
    remote_fetch(os::channel keeper, os::event_loop loop) : keeper_(std::move(keeper)), loop_(std::move(loop)) {}

    status run(os::packet open);

  private:
    result<cache_request> open_parts(const open_request& request);
    result<cache_request> open_part(const open_request& request, std::size_t number);
    result<image_info> check(const cache_request& wanted, bool raw);
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
    std::vector<device_part> parts_;
    std::unique_ptr<upkeep> upkeep_;
    std::unique_ptr<metadata_prefetch> prefetch_;
    std::vector<std::shared_ptr<server_link>> servers_;
    std::optional<os::event_loop::timer_id> timer_;
};

status remote_fetch::run(os::packet open) {
    given_files files;
    NEROFS_TRY(open_request request, decode_open(open, files));
    const auto prepare = [&]() -> status {
        const http::client_options options = client_options_for(request);
        NEROFS_CHECK(enter_sandbox({options.ca_file}));
        NEROFS_TRY(client_, http::client::make(options));
        keeper_work work(keeper_);
        NEROFS_TRY(source_, open_remote(*client_, request, files, work));
        wipe(request.secrets);
        return {};
    };
    if (const status prepared = prepare(); !prepared) return send_error(keeper_, prepared.error());
    fault::point("fetcher.opened");
    NEROFS_CHECK(send_opened(keeper_, source_.identity));

    const auto wanted = open_parts(request);
    const bool raw = request.source.raw;
    const auto info = !wanted ? fail(wanted.error()) : !wanted->check ? result<image_info>() : check(*wanted, raw);
    if (!info) return send_error(keeper_, info.error());
    fault::point("fetcher.answer");
    if (wanted->check) NEROFS_CHECK(send_info(keeper_, *info));
    start_prefetch(raw ? prefetch_mode::none : request.source.prefetch, wanted->fs_offset);

    NEROFS_CHECK(loop_.add(keeper_.fd(), [this] { on_keeper(); }));
    schedule();
    const status end = loop_.run();
    // The last first: each uses those before it.
    prefetch_.reset();
    upkeep_.reset();
    for (device_part& p : parts_) p.blob.reset();
    return end;
}

// What is said of all parts is said with each.
result<cache_request> remote_fetch::open_parts(const open_request& request) {
    cache_request wanted;
    std::vector<upkeep::blob> blobs;
    parts_.resize(source_.identity.parts.size());
    for (std::size_t i = 0; i < parts_.size(); ++i) {
        NEROFS_TRY(wanted, open_part(request, i));
        const remote_part& part = source_.identity.parts[i];
        const bool checked_by_units = part.digest.empty() && !part.index.empty();  // by a table of contents
        blobs.push_back({&*parts_[i].writer, &*parts_[i].blob, part.digest, checked_by_units});
    }
    upkeep_ = std::make_unique<upkeep>(std::move(blobs));
    return wanted;
}

result<cache_request> remote_fetch::open_part(const open_request& request, std::size_t number) {
    NEROFS_TRY(os::packet packet, keeper_.receive(os::in_time(cache_time)));
    cache_descriptors fds;
    NEROFS_TRY(const cache_request wanted, decode_cache(packet, fds));
    if (wanted.part != number) return fail(error_kind::corrupt, "a message is malformed");
    const remote_part& part = source_.identity.parts[number];
    device_part& opened = parts_[number];
    NEROFS_TRY(cache::touch_map touched, cache::touch_map::map(fds.touched, part.size, false));
    NEROFS_TRY(auto writer, cache::blob_writer::attach(
                                {std::move(fds.data), std::move(fds.map), std::move(fds.durable)}, part.size));
    opened.writer.emplace(std::move(writer));
    blob_fetcher_options options;
    options.timeout = request.source.timeout;
    options.background_rate = request.source.background_rate;
    options.limits.rush = request.source.prefetch != prefetch_mode::none && request.source.background_rate == 0;
    options.no_room = [to = std::make_shared<os::channel>(duplicate(keeper_.fd()))] {
        (void)send_simple(*to, message::no_room);  // a dead keeper is noticed elsewhere
    };
    source::range_source* const stored = source_.stored[number].get();
    NEROFS_TRY(opened.decoded, bytes_of_part(part, fds.index, stored, *opened.writer, options));
    source::byte_source& bytes = opened.decoded ? *opened.decoded : *stored;
    opened.blob = std::make_unique<blob_fetcher>(*opened.writer, bytes, std::move(touched), std::move(options));
    return wanted;
}

result<image_info> remote_fetch::check(const cache_request& wanted, bool raw) {
    fault::point("fetcher.check");
    const std::uint64_t bytes = source_.identity.offset_of(parts_.size());
    if (raw) {
        image_info info;
        info.size_bytes = source_.identity.bytes();
        return info;
    }
    if (wanted.fs_offset >= bytes) return fail(error_kind::usage, "its file system offset is beyond its end");
    device_image image(parts_, source_.identity, wanted.fs_offset);
    return check_image(image, bytes - wanted.fs_offset, wanted.has_extra_devices);
}

// The metadata of layers is on this machine already.
void remote_fetch::start_prefetch(prefetch_mode mode, std::uint64_t begin) {
    if (mode == prefetch_mode::none) return;
    if (parts_.size() == 1) prefetch_ = std::make_unique<metadata_prefetch>(*parts_.front().blob, begin);
    if (mode == prefetch_mode::all)
        for (device_part& p : parts_) p.blob->want_all();
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
            for (device_part& p : parts_) p.blob->want_all();
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
        const auto in_vain = [link, id = p.id] {
            const std::lock_guard lock(link->mutex);
            (void)cache::send_read_failed(link->channel, id);
        };
        if (p.blob < parts_.size())
            parts_[p.blob].blob->want(p.offset, p.length, in_vain);
        else
            in_vain();
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
    auto next = blob_fetcher::clock::time_point::max();
    for (const device_part& p : parts_) next = std::min(next, p.blob->next_tick());
    timer_ = loop_.at(next, [this] {
        timer_.reset();
        for (const device_part& p : parts_) p.blob->tick();
        schedule();
    });
}

fetch_statistics remote_fetch::statistics() const {
    fetch_statistics s;
    s.verified = true;
    for (const device_part& p : parts_) {
        s.present_bytes += p.blob->present_bytes();
        s.total_bytes += p.blob->map().blob_bytes();
        s.waiting_reads += p.blob->waiting();
        s.in_flight += p.blob->in_flight();
        s.bytes_per_second += p.blob->bytes_per_second();
        s.verified = s.verified && p.blob->map().verified();
        if (s.last_failure.empty()) s.last_failure = p.blob->last_error();
    }
    for (const auto& stored : source_.stored) {
        if (!stored) continue;
        const source::range_source_stats from = stored->stats();
        s.requests += from.requests;
        s.fetched_bytes += from.bytes;
        s.retries += from.retries;
        s.redirects += from.redirects;
        s.latency_us = std::max(s.latency_us, static_cast<std::uint64_t>(from.latency.count()));
        if (s.last_failure.empty()) s.last_failure = from.last_failure;
    }
    return s;
}

}  // namespace

status run_remote_fetch(os::channel keeper, os::packet open) {
    NEROFS_TRY(os::event_loop loop, os::event_loop::make());
    return remote_fetch(std::move(keeper), std::move(loop)).run(std::move(open));
}

}  // namespace nerofs::fetch
