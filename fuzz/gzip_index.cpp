// A gzip stream: the index is the same in one piece and in two, and every span decodes, by zlib and by ISA-L, to what
// the pass gave. The input: where the stream is cut in two (2 bytes), options (1 byte), and the stream.
#include "codec/gzip_index.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "codec/gzip_span.h"
#include "codec/zinfo.h"
#include "require.h"

namespace {

using namespace nerofs::codec;
using namespace nerofs::fuzz;

constexpr std::uint64_t most_decoded = std::uint64_t{1} << 22;

struct kept {
    gzip_checkpoint at;
    std::vector<std::byte> window;
};

struct pass {
    std::vector<std::byte> decoded;
    std::vector<kept> checkpoints;
    bool whole = false;
};

pass index(std::span<const std::byte> stream, std::size_t cut, const gzip_index_options& options) {
    pass made;
    gzip_index_events events;
    events.decoded = [&made](std::span<const std::byte> more) {
        require(!more.empty());
        made.decoded.insert(made.decoded.end(), more.begin(), more.end());
        return nerofs::status{};
    };
    events.checkpoint = [&made](const gzip_checkpoint& at) {
        require(at.decoded_offset == made.decoded.size() && at.bits < 8 && at.window.size() <= gzip_window_bytes);
        require(at.window.size() <= made.decoded.size() &&
                std::equal(at.window.begin(), at.window.end(),
                           made.decoded.end() - static_cast<std::ptrdiff_t>(at.window.size())));
        made.checkpoints.push_back({at, {at.window.begin(), at.window.end()}});
        made.checkpoints.back().at.window = made.checkpoints.back().window;
        return nerofs::status{};
    };
    gzip_indexer indexer(options, std::move(events));
    if (indexer.push(stream.first(cut)) && indexer.push(stream.subspan(cut))) {
        const auto totals = indexer.finish();
        made.whole = totals.has_value();
        require(!totals || (totals->compressed_bytes == stream.size() && totals->decoded_bytes == made.decoded.size()));
    }
    require(made.decoded.size() <= options.max_decoded_bytes && made.checkpoints.size() <= options.max_checkpoints);
    return made;
}

void expect_span(const pass& made, std::size_t i, std::span<const std::byte> stream, inflater by) {
    const gzip_checkpoint& from = made.checkpoints[i].at;
    const bool last = i + 1 == made.checkpoints.size();
    const auto end = last ? made.decoded.size() : made.checkpoints[i + 1].at.decoded_offset;
    const auto compressed_end = last ? stream.size() : made.checkpoints[i + 1].at.compressed_offset;
    std::vector<std::byte> out(end - from.decoded_offset);
    const auto in = stream.subspan(from.first_byte(), compressed_end - from.first_byte());
    require(decode_gzip_span(from, in, out, by).has_value());
    require(
        std::equal(out.begin(), out.end(), made.decoded.begin() + static_cast<std::ptrdiff_t>(from.decoded_offset)));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size < 3) return 0;
    const auto stream = std::as_bytes(std::span(data, size)).subspan(3);
    gzip_index_options options;
    options.max_decoded_bytes = most_decoded;
    options.max_checkpoints = 200;
    options.at_every_member = (data[2] & 1) != 0;
    options.span_bytes = std::uint64_t{1} << (data[2] >> 3);
    const pass whole = index(stream, 0, options);
    const std::size_t cut = data[0] + (std::size_t{data[1]} << 8);
    const pass pieces = index(stream, std::min(cut, stream.size()), options);
    require(whole.whole == pieces.whole);
    if (!whole.whole) return 0;
    require(whole.decoded == pieces.decoded && whole.checkpoints.size() == pieces.checkpoints.size());
    for (std::size_t i = 0; i < whole.checkpoints.size(); ++i) {
        require(whole.checkpoints[i].at.compressed_offset == pieces.checkpoints[i].at.compressed_offset);
        require(whole.checkpoints[i].at.bits == pieces.checkpoints[i].at.bits);
        require(whole.checkpoints[i].window == pieces.checkpoints[i].window);
        expect_span(whole, i, stream, inflater::zlib);
        expect_span(whole, i, stream, inflater::fastest);
        if (has_isal()) expect_span(whole, i, stream, inflater::isal);
    }
    // What was found can be written as zinfo and is read back.
    zinfo_writer writer(options.span_bytes);
    for (const kept& each : whole.checkpoints) require(writer.append(each.at).has_value());
    const auto file = std::move(writer).finish();
    require(file.has_value());
    const auto parsed = zinfo::parse(*file, stream.size());
    require(parsed && parsed->size() == whole.checkpoints.size());
    return 0;
}
