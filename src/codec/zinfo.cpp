#include "codec/zinfo.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>
#include <string>

#include "base/checked.h"
#include "base/endian.h"

namespace nerofs::codec {
namespace {

struct header {
    le32 count;
    le64 span_bytes;
};
static_assert(sizeof(header) == zinfo_header_bytes);

struct entry {
    le64 compressed_offset;
    le64 decoded_offset;
    std::uint8_t bits;
    std::array<std::byte, gzip_window_bytes> window;
};
static_assert(sizeof(entry) == zinfo_checkpoint_bytes && alignof(entry) == 1);

constexpr std::uint64_t smallest_gzip_header = 10;
constexpr std::uint64_t most_per_byte = 1032;  // 258 bytes for two bits

tl::unexpected<error> corrupt(std::string why) {
    return fail(error_kind::corrupt, "zinfo: " + std::move(why));
}

// Why `next` can't follow `last`, or nothing.
const char* wrong_order(const gzip_checkpoint& last, const gzip_checkpoint& next) {
    if (next.bits > 7) return "takes more than 7 bits of a byte";
    if (next.compressed_offset <= last.compressed_offset || next.decoded_offset < last.decoded_offset)
        return "isn't behind the one before";
    const auto most = checked_mul(next.compressed_offset - last.compressed_offset + 1, most_per_byte);
    if (most && next.decoded_offset - last.decoded_offset > *most)
        return "is further than the bytes before it can decode to";
    return nullptr;
}

const char* wrong_first(const gzip_checkpoint& first) {
    if (first.compressed_offset < smallest_gzip_header || first.decoded_offset != 0 || first.bits != 0)
        return "isn't the start of a stream";
    return nullptr;
}

}  // namespace

result<zinfo> zinfo::parse(std::span<const std::byte> file, std::uint64_t compressed_bytes) {
    if (file.size() < sizeof(header)) return corrupt("shorter than its header");
    header head;
    std::memcpy(&head, file.data(), sizeof head);
    const std::uint64_t count = head.count.get();
    if (count == 0) return corrupt("no checkpoints");
    if (count > max_zinfo_checkpoints)
        return corrupt(std::to_string(count) + " checkpoints, the most are " + std::to_string(max_zinfo_checkpoints));
    if (head.span_bytes.get() == 0) return corrupt("spans of 0 bytes");

    zinfo parsed;
    parsed.entries_ = file.subspan(sizeof(header));
    parsed.span_bytes_ = head.span_bytes.get();
    parsed.count_ = static_cast<std::size_t>(count);
    if (parsed.entries_.size() == count * sizeof(entry)) {
        parsed.version_ = 2;
    } else if (parsed.entries_.size() == (count - 1) * sizeof(entry)) {
        parsed.version_ = 1;
    } else {
        return corrupt(std::to_string(file.size()) + " bytes can't hold " + std::to_string(count) + " checkpoints");
    }
    gzip_checkpoint last;
    for (std::size_t i = 0; i < parsed.count_; ++i) {
        const gzip_checkpoint next = parsed.at(i);
        const char* wrong = i == 0 ? wrong_first(next) : wrong_order(last, next);
        if (wrong == nullptr && next.compressed_offset >= compressed_bytes) wrong = "is behind the end of the stream";
        if (wrong != nullptr) return corrupt("checkpoint " + std::to_string(i) + " " + wrong);
        last = next;
    }
    return parsed;
}

gzip_checkpoint zinfo::at(std::size_t index) const {
    if (version_ == 1) {
        if (index == 0)
            return {.compressed_offset = smallest_gzip_header, .decoded_offset = 0, .bits = 0, .window = {}};
        --index;
    }
    const auto* stored = reinterpret_cast<const entry*>(entries_.subspan(index * sizeof(entry), sizeof(entry)).data());
    const std::uint64_t decoded = stored->decoded_offset.get();
    const auto known = static_cast<std::size_t>(std::min<std::uint64_t>(decoded, gzip_window_bytes));
    return {.compressed_offset = stored->compressed_offset.get(),
            .decoded_offset = decoded,
            .bits = stored->bits,
            .window = std::span(stored->window).last(known)};
}

std::size_t zinfo::find(std::uint64_t decoded_offset) const {
    std::size_t low = 0;
    std::size_t behind = count_;
    while (behind - low > 1) {
        const std::size_t middle = low + (behind - low) / 2;
        (at(middle).decoded_offset <= decoded_offset ? low : behind) = middle;
    }
    return low;
}

zinfo_writer::zinfo_writer(std::uint64_t span_bytes) : file_(sizeof(header)) {
    const header head{.count = 0, .span_bytes = span_bytes};
    std::memcpy(file_.data(), &head, sizeof head);
}

status zinfo_writer::append(const gzip_checkpoint& checkpoint) {
    const gzip_checkpoint last{
        .compressed_offset = compressed_offset_, .decoded_offset = decoded_offset_, .bits = 0, .window = {}};
    const char* wrong = count_ == 0 ? wrong_first(checkpoint) : wrong_order(last, checkpoint);
    if (wrong == nullptr && checkpoint.window.size() > gzip_window_bytes) wrong = "has too large a window";
    if (wrong != nullptr) return fail(error_kind::usage, "zinfo: checkpoint " + std::to_string(count_) + " " + wrong);
    if (count_ == max_zinfo_checkpoints)
        return fail(error_kind::permanent,
                    "zinfo: more than " + std::to_string(max_zinfo_checkpoints) + " checkpoints");
    entry next{};
    next.compressed_offset = checkpoint.compressed_offset;
    next.decoded_offset = checkpoint.decoded_offset;
    next.bits = checkpoint.bits;
    std::copy(checkpoint.window.begin(), checkpoint.window.end(),
              next.window.end() - static_cast<std::ptrdiff_t>(checkpoint.window.size()));
    const auto* bytes = reinterpret_cast<const std::byte*>(&next);
    file_.insert(file_.end(), bytes, bytes + sizeof next);
    ++count_;
    compressed_offset_ = checkpoint.compressed_offset;
    decoded_offset_ = checkpoint.decoded_offset;
    return {};
}

result<std::vector<std::byte>> zinfo_writer::finish() && {
    if (count_ == 0) return fail(error_kind::usage, "zinfo: no checkpoints");
    const le32 count = count_;
    std::memcpy(file_.data(), &count, sizeof count);
    return std::move(file_);
}

}  // namespace nerofs::codec
