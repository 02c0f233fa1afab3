// A zstd stream: the same frames in one piece and in two, each of which decodes alone to what the pass gave. And its
// end as a seek table. The input: where the stream is cut in two (2 bytes), and the stream.
#include "codec/zstd_seek.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "require.h"

namespace {

using namespace nerofs::codec;
using namespace nerofs::fuzz;

constexpr std::uint64_t most_decoded = std::uint64_t{1} << 22;
constexpr std::uint64_t most_frames = 100;

struct pass {
    std::vector<std::byte> decoded;
    std::vector<zstd_frame> frames;
    bool whole = false;
};

pass index(std::span<const std::byte> stream, std::size_t cut) {
    pass made;
    zstd_index_events events;
    events.decoded = [&made](std::span<const std::byte> more) {
        made.decoded.insert(made.decoded.end(), more.begin(), more.end());
        return nerofs::status{};
    };
    events.frame = [&made](const zstd_frame& frame) {
        require(frame.decoded_bytes != 0 && frame.decoded_offset + frame.decoded_bytes == made.decoded.size());
        made.frames.push_back(frame);
        return nerofs::status{};
    };
    zstd_indexer indexer({.max_decoded_bytes = most_decoded, .max_frames = most_frames}, std::move(events));
    if (indexer.push(stream.first(cut)) && indexer.push(stream.subspan(cut))) {
        const auto totals = indexer.finish();
        made.whole = totals.has_value();
        require(!totals || (totals->compressed_bytes == stream.size() && totals->decoded_bytes == made.decoded.size()));
    }
    require(made.decoded.size() <= most_decoded && made.frames.size() <= most_frames);
    return made;
}

void check_table(std::span<const std::byte> stream) {
    if (stream.size() < zstd_seek_footer_bytes) return;
    const auto length = zstd_seek_table_bytes(stream.last(zstd_seek_footer_bytes));
    if (!length || *length > stream.size()) return;
    const auto frames = parse_zstd_seek_table(stream.last(*length), stream.size());
    if (!frames) return;
    std::uint64_t decoded = 0;
    for (const zstd_frame& frame : *frames) {
        require(frame.decoded_offset == decoded && frame.decoded_bytes != 0);
        decoded += frame.decoded_bytes;
        require(frame.compressed_offset + frame.compressed_bytes <= stream.size() - *length);
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size < 2) return 0;
    const auto stream = std::as_bytes(std::span(data, size)).subspan(2);
    check_table(stream);
    const pass whole = index(stream, 0);
    const pass pieces = index(stream, std::min(data[0] + (std::size_t{data[1]} << 8), stream.size()));
    require(whole.whole == pieces.whole);
    if (!whole.whole) return 0;
    require(whole.decoded == pieces.decoded && whole.frames == pieces.frames);
    for (const zstd_frame& frame : whole.frames) {
        std::vector<std::byte> out(frame.decoded_bytes);
        require(decode_zstd_frame(stream.subspan(frame.compressed_offset, frame.compressed_bytes), out).has_value());
        require(std::equal(out.begin(), out.end(),
                           whole.decoded.begin() + static_cast<std::ptrdiff_t>(frame.decoded_offset)));
    }
    return 0;
}
