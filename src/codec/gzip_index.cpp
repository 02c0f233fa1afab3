#include "codec/gzip_index.h"

#define ZLIB_CONST  // next_in is const
#include <zlib.h>

#include <algorithm>
#include <array>
#include <new>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace nerofs::codec {
namespace {

constexpr int gzip_only = 15 + 16;  // inflateInit2: a window of 32 KiB, gzip header and trailer
constexpr std::size_t buffer_bytes = std::size_t{256} << 10;  // of decoded bytes, before they are handed on
constexpr std::size_t most_at_once = std::size_t{1} << 30;    // avail_in is an unsigned int

// zlib.h: what inflate() says in data_type when it stopped because of Z_BLOCK.
constexpr int unused_bits = 7;
constexpr int last_block = 64;
constexpr int block_end = 128;

}  // namespace

struct gzip_indexer::state {
    enum class place : std::uint8_t { before_member, in_member, padding, failed };

    state(const gzip_index_options& wanted, gzip_index_events called)
        : options(wanted), events(std::move(called)), buffer(buffer_bytes) {
        if (inflateInit2(&stream, gzip_only) != Z_OK) throw std::bad_alloc();
    }
    state(const state&) = delete;
    state& operator=(const state&) = delete;
    ~state() { inflateEnd(&stream); }

    status push(std::span<const std::byte> piece);
    status member_bytes(std::span<const std::byte>& piece);
    status step();
    status at_block_start();
    status hand_on();
    tl::unexpected<error> corrupt(const std::string& why) const {
        return fail(error_kind::corrupt,
                    "gzip stream: " + why + " (near byte " + std::to_string(totals.compressed_bytes) + ")");
    }

    gzip_index_options options;
    gzip_index_events events;
    std::vector<std::byte> buffer;
    std::size_t filled = 0;
    std::array<std::byte, gzip_window_bytes> window;
    z_stream stream{};
    place at = place::before_member;
    gzip_totals totals;
    bool member_has_block = false;
    std::uint64_t checkpoints = 0;
    std::uint64_t last_checkpoint = 0;  // its decoded offset
};

status gzip_indexer::state::hand_on() {
    if (filled == 0) return {};
    const auto bytes = std::span(buffer).first(std::exchange(filled, 0));
    return events.decoded ? events.decoded(bytes) : status{};
}

status gzip_indexer::state::at_block_start() {
    const bool starts_member = !std::exchange(member_has_block, true);
    const bool due = totals.decoded_bytes - last_checkpoint > options.span_bytes;
    if (checkpoints != 0 && !due && !(starts_member && options.at_every_member)) return {};
    if (checkpoints == options.max_checkpoints)
        return fail(error_kind::permanent,
                    "gzip stream: more than " + std::to_string(options.max_checkpoints) + " checkpoints");
    NEROFS_CHECK(hand_on());
    uInt length = 0;
    if (inflateGetDictionary(&stream, reinterpret_cast<Bytef*>(window.data()), &length) != Z_OK)
        throw std::runtime_error("zlib has no window");
    ++checkpoints;
    last_checkpoint = totals.decoded_bytes;
    if (!events.checkpoint) return {};
    return events.checkpoint({.compressed_offset = totals.compressed_bytes,
                              .decoded_offset = totals.decoded_bytes,
                              .bits = static_cast<std::uint8_t>(stream.data_type & unused_bits),
                              .window = std::span(window).first(length)});
}

// One call of inflate(): up to the next block, the end of the input, or a full buffer.
status gzip_indexer::state::step() {
    const uInt input = stream.avail_in;
    const uInt room = static_cast<uInt>(buffer.size() - filled);
    stream.next_out = reinterpret_cast<Bytef*>(buffer.data() + filled);
    stream.avail_out = room;
    const int answer = inflate(&stream, Z_BLOCK);
    totals.compressed_bytes += input - stream.avail_in;
    filled += room - stream.avail_out;
    totals.decoded_bytes += room - stream.avail_out;
    if (totals.decoded_bytes > options.max_decoded_bytes)
        return fail(error_kind::permanent,
                    "gzip stream: decodes to more than " + std::to_string(options.max_decoded_bytes) + " bytes");
    switch (answer) {
        case Z_STREAM_END:
            ++totals.members;
            member_has_block = false;
            at = place::before_member;
            if (inflateReset(&stream) != Z_OK) throw std::runtime_error("zlib can't begin a member");
            break;
        case Z_OK:
        case Z_BUF_ERROR:  // no progress without more input or room
            if ((stream.data_type & block_end) != 0 && (stream.data_type & last_block) == 0)
                NEROFS_CHECK(at_block_start());
            break;
        case Z_MEM_ERROR:
            throw std::bad_alloc();
        default:
            return corrupt(stream.msg != nullptr ? stream.msg : "damaged");
    }
    return filled == buffer.size() ? hand_on() : status{};
}

// Takes from the front of `piece` what belongs to the member.
status gzip_indexer::state::member_bytes(std::span<const std::byte>& piece) {
    const auto now = piece.first(std::min(piece.size(), most_at_once));
    stream.next_in = reinterpret_cast<const Bytef*>(now.data());
    stream.avail_in = static_cast<uInt>(now.size());
    do {
        NEROFS_CHECK(step());
        // Without input there may still be output, when the buffer was too small for it.
    } while (at == place::in_member && (stream.avail_in != 0 || stream.avail_out == 0));
    piece = piece.subspan(now.size() - stream.avail_in);
    return {};
}

status gzip_indexer::state::push(std::span<const std::byte> piece) {
    while (!piece.empty()) {
        if (at == place::before_member)
            at = totals.members != 0 && piece[0] == std::byte{} ? place::padding : place::in_member;
        if (at == place::in_member) {
            NEROFS_CHECK(member_bytes(piece));
            continue;
        }
        const auto zeros = static_cast<std::size_t>(
            std::find_if(piece.begin(), piece.end(), [](std::byte b) { return b != std::byte{}; }) - piece.begin());
        totals.compressed_bytes += zeros;
        if (zeros != piece.size()) return corrupt("something follows the padding behind its last member");
        break;
    }
    return hand_on();
}

gzip_indexer::gzip_indexer(const gzip_index_options& options, gzip_index_events events)
    : state_(std::make_unique<state>(options, std::move(events))) {}
gzip_indexer::gzip_indexer(gzip_indexer&&) noexcept = default;
gzip_indexer& gzip_indexer::operator=(gzip_indexer&&) noexcept = default;
gzip_indexer::~gzip_indexer() = default;

status gzip_indexer::push(std::span<const std::byte> compressed) {
    if (state_->at == state::place::failed) return fail(error_kind::usage, "gzip stream: more of one that had failed");
    status pushed = state_->push(compressed);
    if (!pushed) state_->at = state::place::failed;
    return pushed;
}

result<gzip_totals> gzip_indexer::finish() {
    if (state_->at == state::place::failed)
        return fail(error_kind::usage, "gzip stream: the end of one that had failed");
    if (state_->at == state::place::in_member) return state_->corrupt("it ends in the middle");
    if (state_->totals.members == 0) return state_->corrupt("it is empty");
    return state_->totals;
}

}  // namespace nerofs::codec
