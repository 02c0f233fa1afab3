#include "layer/ingest.h"

#include <algorithm>
#include <array>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <tuple>
#include <utility>
#include <variant>
#include <vector>

#include "codec/gzip_index.h"
#include "codec/gzip_window.h"
#include "codec/hex.h"
#include "codec/zstd_seek.h"
#include "erofs/writer.h"
#include "layer/marked_tree.h"
#include "layer/serial_worker.h"
#include "layer/tar_reader.h"

namespace nerofs::layer {
namespace {

using bytes_view = std::span<const std::byte>;

// Of those that may become checkpoints: each costs a copy of its window.
constexpr std::uint64_t candidate_spacing = std::uint64_t{32} << 10;
constexpr std::uint64_t content_per_window_byte = 128;
constexpr std::size_t magic_bytes = 4;
constexpr std::size_t piece_bytes = std::size_t{256} << 10;
// As much as 32 KiB of content take, in any sensible stream.
constexpr std::size_t stored_behind_checkpoint = std::size_t{40} << 10;

// The unit whose decoding begins at a checkpoint there, unless there is a later one.
constexpr std::uint64_t unit_served(std::uint64_t content_offset) {
    return (content_offset + default_unit_bytes - 1) / default_unit_bytes;
}

// The digests of the content, whole and by units.
class content_digests {
  public:
    explicit content_digests(unsigned threads) {
        for (auto& worker : workers_) {
            if (threads-- == 0) break;
            worker = std::make_unique<serial_worker>();
        }
    }

    void push(bytes_view bytes) {
        while (!bytes.empty()) {
            const std::size_t now = std::min(bytes.size(), default_unit_bytes - filled_);
            std::vector<std::byte>& unit = ring_[turn_];
            unit.resize(default_unit_bytes);
            std::copy_n(bytes.begin(), now, unit.begin() + static_cast<std::ptrdiff_t>(filled_));
            bytes = bytes.subspan(now);
            filled_ += now;
            if (filled_ == default_unit_bytes) unit_ends();
        }
    }

    std::pair<codec::sha256_digest, std::vector<codec::sha256_digest>> finish() {
        if (filled_ != 0) unit_ends();
        for (auto& worker : workers_)
            if (worker) worker->drain();
        return {whole_.finish(), std::move(units_)};
    }

  private:
    void unit_ends() {
        const auto unit = bytes_view(ring_[turn_]).first(std::exchange(filled_, 0));
        turn_ = (turn_ + 1) % ring_.size();
        by(workers_[0].get(), [this, unit] { whole_.update(unit); });
        by(workers_[1] ? workers_[1].get() : workers_[0].get(),
           [this, unit] { units_.push_back(codec::sha256::of(unit)); });
    }
    static void by(serial_worker* worker, std::function<void()> work) {
        if (worker != nullptr) return worker->give(std::move(work));
        work();
    }

    codec::sha256 whole_;
    std::vector<codec::sha256_digest> units_;
    // A unit is written to again when the workers are done with it: they are never further behind than that.
    std::array<std::vector<std::byte>, serial_worker::most_waiting + 2> ring_;
    std::size_t turn_ = 0;
    std::size_t filled_ = 0;
    std::array<std::unique_ptr<serial_worker>, 2> workers_;
};

std::optional<compression> compression_of(bytes_view start) {
    const auto at = [&](std::size_t i) { return std::to_integer<unsigned>(start[i]); };
    if (start.size() < magic_bytes) return std::nullopt;
    if (at(0) == 0x1f && at(1) == 0x8b) return compression::gzip;
    if (at(0) == 0x28 && at(1) == 0xb5 && at(2) == 0x2f && at(3) == 0xfd) return compression::zstd;
    // A skippable frame, as some writers begin with.
    if ((at(0) & 0xf0U) == 0x50 && at(1) == 0x2a && at(2) == 0x4d && at(3) == 0x18) return compression::zstd;
    return compression::plain;
}

}  // namespace

struct layer_ingest::state {
    explicit state(ingest_options o)
        : options(std::move(o)),
          files({.whiteouts = whiteout_mode::as_marks,
                 .keep_unresolved = true,
                 .names = options.most_names,
                 .text_bytes = options.most_text_bytes}),
          tar([this](tar_entry&& entry) { return files.add(std::move(entry)); }),
          digests(options.hash_threads) {
        if (options.how) begin(*options.how);
    }

    void begin(compression how);
    status push(bytes_view stored);
    status decode(bytes_view stored);
    status take_content(bytes_view content);
    status take_checkpoint(const codec::gzip_checkpoint& at);
    void feed_checkpoints(std::uint64_t offset, bytes_view stored);
    void keep_checkpoint();
    result<layer_index> finish();
    tl::unexpected<error> named(error e) const {
        return fail(std::move(e).in(options.stored_digest ? short_name(*options.stored_digest) : "layer"));
    }

    ingest_options options;
    layer_index index;
    std::vector<std::byte> start;  // until it is known what it is
    std::variant<std::monostate, codec::gzip_indexer, codec::zstd_indexer> decoder;
    bool begun = false;
    tree files;
    tar_reader tar;
    codec::sha256 stored_hash;
    content_digests digests;
    // Checkpoints whose window waits for what follows it.
    struct new_checkpoint {
        checkpoint at;
        std::vector<std::byte> window;
        std::vector<std::byte> stored;  // from at.first_byte() on
    };
    std::deque<new_checkpoint> fresh;
    std::uint64_t decoded_bytes = 0;  // stored ones that went through the decoder of gzip
    std::byte byte_before{};          // the last of them
    std::uint64_t window_bytes = 0;
};

void layer_ingest::state::begin(compression how) {
    begun = true;
    index.how = how;
    if (how == compression::gzip) {
        decoder = codec::gzip_indexer(
            {.max_decoded_bytes = options.most_content_bytes,
             .span_bytes = candidate_spacing,
             .max_checkpoints = UINT64_MAX},
            {.decoded = [this](bytes_view content) { return take_content(content); },
             .checkpoint = [this](const codec::gzip_checkpoint& at) { return take_checkpoint(at); }});
    } else if (how == compression::zstd) {
        decoder = codec::zstd_indexer(
            {.max_decoded_bytes = options.most_content_bytes, .max_frames = UINT64_MAX},
            {.decoded = [this](bytes_view content) { return take_content(content); },
             .frame = [this](const codec::zstd_frame& frame) -> status {
                 auto& known = index.checkpoints;
                 if (!known.empty() && unit_served(known.back().content_offset) == unit_served(frame.decoded_offset))
                     known.pop_back();
                 known.push_back({.stored_offset = frame.compressed_offset, .content_offset = frame.decoded_offset});
                 return {};
             }});
    }
}

status layer_ingest::state::take_checkpoint(const codec::gzip_checkpoint& at) {
    if (!fresh.empty() && unit_served(fresh.back().at.content_offset) == unit_served(at.decoded_offset))
        fresh.pop_back();
    fresh.push_back(
        {.at = {.stored_offset = at.compressed_offset, .content_offset = at.decoded_offset, .bits = at.bits},
         .window = {at.window.begin(), at.window.end()},
         .stored = {}});
    return {};
}

// These bytes, which lie at that offset, have been decoded.
void layer_ingest::state::feed_checkpoints(std::uint64_t offset, bytes_view stored) {
    for (new_checkpoint& c : fresh) {
        const std::uint64_t next = c.at.first_byte() + c.stored.size();
        if (c.stored.empty() && next + 1 == offset) c.stored.push_back(byte_before);
        const auto from = stored.subspan(static_cast<std::size_t>(std::max(next, offset) - offset));
        const auto some = from.first(std::min(from.size(), stored_behind_checkpoint - c.stored.size()));
        c.stored.insert(c.stored.end(), some.begin(), some.end());
    }
    byte_before = stored.back();
    // One that is the last before its unit, and is followed by all that may refer to its window.
    const auto ready = [this](const checkpoint& c) {
        return index.content_bytes > unit_served(c.content_offset) * default_unit_bytes &&
               index.content_bytes - c.content_offset >= codec::gzip_window_bytes;
    };
    while (!fresh.empty() && ready(fresh.front().at)) keep_checkpoint();
}

// The oldest of the fresh ones.
void layer_ingest::state::keep_checkpoint() {
    new_checkpoint c = std::move(fresh.front());
    fresh.pop_front();
    const std::uint64_t behind = index.content_bytes - c.at.content_offset;
    if (behind == 0) return;
    if (!c.window.empty()) {
        const auto needed = codec::needed_gzip_window(
            {.compressed_offset = c.at.stored_offset, .decoded_offset = 0, .bits = c.at.bits, .window = c.window},
            c.stored, static_cast<std::size_t>(std::min<std::uint64_t>(behind, codec::gzip_window_bytes)));
        // Without an answer, all of it: the stream is a strange one.
        const std::vector<std::byte>& window = needed ? *needed : c.window;
        if (!window.empty()) c.at.window = pack_window(window);
    }
    if ((window_bytes + c.at.window.size()) * content_per_window_byte > c.at.content_offset) return;
    window_bytes += c.at.window.size();
    index.checkpoints.push_back(std::move(c.at));
}

status layer_ingest::state::take_content(bytes_view content) {
    index.content_bytes += content.size();
    if (index.content_bytes > options.most_content_bytes)
        return fail(error_kind::permanent, "has more than " + std::to_string(options.most_content_bytes) + " bytes");
    digests.push(content);
    NEROFS_CHECK(tar.push(content));
    return options.content ? options.content(content) : status{};
}

status layer_ingest::state::decode(bytes_view stored) {
    if (auto* gzip = std::get_if<codec::gzip_indexer>(&decoder)) {
        while (!stored.empty()) {
            const auto now = stored.first(std::min(stored.size(), piece_bytes));
            stored = stored.subspan(now.size());
            NEROFS_CHECK(gzip->push(now));
            feed_checkpoints(decoded_bytes, now);
            decoded_bytes += now.size();
        }
        return {};
    }
    if (auto* zstd = std::get_if<codec::zstd_indexer>(&decoder)) return zstd->push(stored);
    return take_content(stored);
}

status layer_ingest::state::push(bytes_view stored) {
    index.stored_bytes += stored.size();
    if (begun) {
        if (index.how != compression::plain) stored_hash.update(stored);
        return decode(stored);
    }
    start.insert(start.end(), stored.begin(), stored.end());
    const auto how = compression_of(start);
    if (!how) return {};
    begin(*how);
    if (index.how != compression::plain) stored_hash.update(start);
    return decode(std::exchange(start, {}));
}

result<layer_index> layer_ingest::state::finish() {
    if (!begun) {  // too short for any of them
        begin(compression::plain);
        NEROFS_CHECK(decode(start));
    }
    if (auto* gzip = std::get_if<codec::gzip_indexer>(&decoder)) {
        NEROFS_TRY([[maybe_unused]] const auto totals, gzip->finish());
        while (!fresh.empty()) keep_checkpoint();
    } else if (auto* zstd = std::get_if<codec::zstd_indexer>(&decoder)) {
        NEROFS_TRY([[maybe_unused]] const auto totals, zstd->finish());
    }
    std::tie(index.content_digest, index.units) = digests.finish();
    index.stored_digest = index.how == compression::plain ? index.content_digest : stored_hash.finish();
    if (options.stored_digest && *options.stored_digest != index.stored_digest)
        return fail(error_kind::corrupt, "its digest is sha256:" + codec::to_hex(index.stored_digest));
    if (options.content_digest && *options.content_digest != index.content_digest)
        return fail(error_kind::corrupt, "the digest of its content is sha256:" + codec::to_hex(index.content_digest) +
                                             " instead of sha256:" + codec::to_hex(*options.content_digest));
    NEROFS_CHECK(tar.finish());
    NEROFS_CHECK(files.finish());
    NEROFS_TRY(auto image, erofs::write_index(marked_tree(files), tar.archive_bytes()));
    index.tarindex = std::move(image.bytes);
    index.unresolved = files.unresolved();
    return std::move(index);
}

layer_ingest::layer_ingest(ingest_options options) : state_(std::make_unique<state>(std::move(options))) {}
layer_ingest::layer_ingest(layer_ingest&&) noexcept = default;
layer_ingest& layer_ingest::operator=(layer_ingest&&) noexcept = default;
layer_ingest::~layer_ingest() = default;

status layer_ingest::push(std::span<const std::byte> stored) {
    auto pushed = state_->push(stored);
    if (!pushed) return state_->named(std::move(pushed).error());
    return pushed;
}

result<layer_index> layer_ingest::finish() {
    auto finished = state_->finish();
    if (!finished) return state_->named(std::move(finished).error());
    return finished;
}

}  // namespace nerofs::layer
