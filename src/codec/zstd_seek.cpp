#include "codec/zstd_seek.h"

#include <zstd.h>
#include <zstd_errors.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <new>
#include <string>
#include <utility>

#include "base/endian.h"

namespace nerofs::codec {
namespace {

constexpr std::size_t buffer_bytes = std::size_t{256} << 10;
constexpr std::uint32_t frame_magic = 0xfd2fb528;
constexpr std::uint32_t skippable_magic = 0x184d2a50;  // and the 15 behind it
constexpr int max_window_log = std::countr_zero(max_zstd_window_bytes);

// contrib/seekable_format/zstd_seekable_compression_format.md of zstd.
constexpr std::uint32_t seek_table_magic = 0x184d2a5e;
constexpr std::uint32_t seekable_magic = 0x8f92eab1;
constexpr std::uint8_t has_checksums = 0x80;
constexpr std::uint8_t reserved_bits = 0x7c;

struct skippable_header {
    le32 magic;
    le32 bytes;  // behind this header
};
static_assert(sizeof(skippable_header) == 8);

struct seek_footer {
    le32 frames;
    std::uint8_t descriptor;
    le32 magic;
};
static_assert(sizeof(seek_footer) == zstd_seek_footer_bytes);

struct seek_entry {  // and a checksum of 4 bytes, where there are any
    le32 compressed_bytes;
    le32 decoded_bytes;
};
static_assert(sizeof(seek_entry) == 8);

std::size_t entry_bytes(const seek_footer& footer) {
    return sizeof(seek_entry) + ((footer.descriptor & has_checksums) != 0 ? 4 : 0);
}

struct free_context {
    void operator()(ZSTD_DCtx* context) const { ZSTD_freeDCtx(context); }
};
using context = std::unique_ptr<ZSTD_DCtx, free_context>;

context make_context() {
    context made(ZSTD_createDCtx());
    if (!made || ZSTD_isError(ZSTD_DCtx_setParameter(made.get(), ZSTD_d_windowLogMax, max_window_log)) != 0)
        throw std::bad_alloc();
    return made;
}

template <class T>
T read_at(std::span<const std::byte> bytes, std::size_t offset) {
    T value;
    std::memcpy(&value, bytes.subspan(offset, sizeof value).data(), sizeof value);
    return value;
}

}  // namespace

struct zstd_indexer::state {
    state(const zstd_index_options& wanted, zstd_index_events called)
        : options(wanted), events(std::move(called)), decoder(make_context()), buffer(buffer_bytes) {}

    status push(std::span<const std::byte> piece);
    status frame_bytes(std::span<const std::byte>& piece);
    status frame_end();
    tl::unexpected<error> corrupt(const std::string& why) const {
        return fail(error_kind::corrupt,
                    "zstd stream: " + why + " (near byte " + std::to_string(totals.compressed_bytes) + ")");
    }

    zstd_index_options options;
    zstd_index_events events;
    context decoder;
    std::vector<std::byte> buffer;
    std::array<std::byte, 4> magic;
    std::size_t magic_bytes = 0;  // between two frames: those of the next one's magic that have come
    bool in_frame = false;
    bool failed = false;
    bool any = false;
    zstd_frame frame;
    zstd_totals totals;
};

status zstd_indexer::state::frame_end() {
    in_frame = false;
    frame.compressed_bytes = totals.compressed_bytes - frame.compressed_offset;
    frame.decoded_bytes = totals.decoded_bytes - frame.decoded_offset;
    const zstd_frame ended =
        std::exchange(frame, {.compressed_offset = totals.compressed_bytes, .decoded_offset = totals.decoded_bytes});
    if (ended.decoded_bytes == 0) return {};
    if (totals.frames == options.max_frames)
        return fail(error_kind::permanent, "zstd stream: more than " + std::to_string(options.max_frames) + " frames");
    ++totals.frames;
    return events.frame ? events.frame(ended) : status{};
}

// Takes from the front of `piece` what belongs to the frame.
status zstd_indexer::state::frame_bytes(std::span<const std::byte>& piece) {
    ZSTD_inBuffer in{piece.data(), piece.size(), 0};
    for (;;) {
        ZSTD_outBuffer out{buffer.data(), buffer.size(), 0};
        const std::size_t before = in.pos;
        const std::size_t answer = ZSTD_decompressStream(decoder.get(), &out, &in);
        totals.compressed_bytes += in.pos - before;
        if (ZSTD_isError(answer) != 0) {
            const ZSTD_ErrorCode code = ZSTD_getErrorCode(answer);
            if (code == ZSTD_error_memory_allocation) throw std::bad_alloc();
            if (code == ZSTD_error_frameParameter_windowTooLarge)
                return fail(error_kind::unsupported, "zstd stream: a frame needs more than " +
                                                         std::to_string(max_zstd_window_bytes) + " bytes of history");
            return corrupt(ZSTD_getErrorName(answer));
        }
        totals.decoded_bytes += out.pos;
        if (totals.decoded_bytes > options.max_decoded_bytes)
            return fail(error_kind::permanent,
                        "zstd stream: decodes to more than " + std::to_string(options.max_decoded_bytes) + " bytes");
        if (out.pos != 0 && events.decoded) NEROFS_CHECK(events.decoded(std::span(buffer).first(out.pos)));
        if (answer == 0 || (in.pos == in.size && out.pos < out.size)) {
            piece = piece.subspan(in.pos);
            return answer == 0 ? frame_end() : status{};
        }
    }
}

status zstd_indexer::state::push(std::span<const std::byte> piece) {
    any = any || !piece.empty();
    while (!piece.empty()) {
        if (!in_frame) {
            // Not left to the library, which may be one that takes the formats of old, too.
            const auto now = piece.first(std::min(piece.size(), magic.size() - magic_bytes));
            std::copy(now.begin(), now.end(), magic.begin() + static_cast<std::ptrdiff_t>(magic_bytes));
            magic_bytes += now.size();
            piece = piece.subspan(now.size());
            if (magic_bytes < magic.size()) break;
            const std::uint32_t number = read_at<le32>(magic, 0);
            if (number != frame_magic && (number & ~std::uint32_t{15}) != skippable_magic)
                return corrupt(totals.compressed_bytes == 0 ? "it isn't zstd" : "something else follows a frame");
            magic_bytes = 0;
            in_frame = true;
            std::span<const std::byte> start = magic;
            NEROFS_CHECK(frame_bytes(start));
        }
        NEROFS_CHECK(frame_bytes(piece));
    }
    return {};
}

zstd_indexer::zstd_indexer(const zstd_index_options& options, zstd_index_events events)
    : state_(std::make_unique<state>(options, std::move(events))) {}
zstd_indexer::zstd_indexer(zstd_indexer&&) noexcept = default;
zstd_indexer& zstd_indexer::operator=(zstd_indexer&&) noexcept = default;
zstd_indexer::~zstd_indexer() = default;

status zstd_indexer::push(std::span<const std::byte> compressed) {
    if (state_->failed) return fail(error_kind::usage, "zstd stream: more of one that had failed");
    status pushed = state_->push(compressed);
    state_->failed = !pushed;
    return pushed;
}

result<zstd_totals> zstd_indexer::finish() {
    if (state_->failed) return fail(error_kind::usage, "zstd stream: the end of one that had failed");
    if (!state_->any) return state_->corrupt("it is empty");
    if (state_->in_frame || state_->magic_bytes != 0) return state_->corrupt("it ends in the middle");
    return state_->totals;
}

status decode_zstd_frame(std::span<const std::byte> compressed, std::span<std::byte> out) {
    if (out.size() > max_zstd_frame_bytes) return fail(error_kind::usage, "zstd frame: too large");
    const auto corrupt = [](const char* why) { return fail(error_kind::corrupt, std::string("zstd frame: ") + why); };
    if (compressed.size() < sizeof(le32) || read_at<le32>(compressed, 0) != frame_magic) return corrupt("it isn't one");
    const std::size_t length = ZSTD_findFrameCompressedSize(compressed.data(), compressed.size());
    if (ZSTD_isError(length) != 0) return corrupt(ZSTD_getErrorName(length));
    if (length != compressed.size()) return corrupt("something follows it");
    const context decoder = make_context();
    const std::size_t got =
        ZSTD_decompressDCtx(decoder.get(), out.data(), out.size(), compressed.data(), compressed.size());
    if (ZSTD_isError(got) != 0) {
        if (ZSTD_getErrorCode(got) == ZSTD_error_memory_allocation) throw std::bad_alloc();
        return corrupt(ZSTD_getErrorName(got));
    }
    if (got != out.size()) return corrupt("it decodes to less");
    return {};
}

std::optional<std::size_t> zstd_seek_table_bytes(std::span<const std::byte> footer) {
    if (footer.size() != sizeof(seek_footer)) return std::nullopt;
    const auto end = read_at<seek_footer>(footer, 0);
    if (end.magic != seekable_magic || (end.descriptor & reserved_bits) != 0) return std::nullopt;
    if (end.frames > max_zstd_seek_frames) return std::nullopt;
    return sizeof(skippable_header) + end.frames * entry_bytes(end) + sizeof(seek_footer);
}

result<std::vector<zstd_frame>> parse_zstd_seek_table(std::span<const std::byte> table,
                                                      std::uint64_t compressed_bytes) {
    const auto corrupt = [](const char* why) {
        return fail(error_kind::corrupt, std::string("zstd seek table: ") + why);
    };
    if (table.size() < sizeof(skippable_header) + sizeof(seek_footer) || table.size() > compressed_bytes)
        return corrupt("it isn't one");
    if (zstd_seek_table_bytes(table.last(sizeof(seek_footer))) != table.size()) return corrupt("it isn't one");
    const auto head = read_at<skippable_header>(table, 0);
    if (head.magic != seek_table_magic || head.bytes != table.size() - sizeof head)
        return corrupt("its header is wrong");
    const auto end = read_at<seek_footer>(table, table.size() - sizeof(seek_footer));
    std::vector<zstd_frame> frames;
    frames.reserve(end.frames);
    zstd_frame next;  // 2^20 sums of 32 bits don't overflow 64
    for (std::size_t i = 0; i < end.frames; ++i) {
        const auto entry = read_at<seek_entry>(table, sizeof head + i * entry_bytes(end));
        next.compressed_bytes = entry.compressed_bytes;
        next.decoded_bytes = entry.decoded_bytes;
        if (next.compressed_bytes == 0) return corrupt("a frame without bytes");
        if (next.decoded_bytes != 0) frames.push_back(next);
        next.compressed_offset += next.compressed_bytes;
        next.decoded_offset += next.decoded_bytes;
    }
    if (next.compressed_offset != compressed_bytes - table.size()) return corrupt("its frames aren't the stream");
    return frames;
}

}  // namespace nerofs::codec
