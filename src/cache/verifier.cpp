#include "cache/verifier.h"

#include <algorithm>

#include "os/files.h"

namespace nerofs::cache {
namespace {

constexpr std::size_t buffer_bytes = 256 * 1024;

}  // namespace

result<blob_verifier> blob_verifier::make(fd_ref data, const live_map& map, std::string_view digest) {
    const auto expected = codec::sha256_named(digest);
    if (!expected) return fail(error_kind::usage, "only sha256 digests can be checked");
    blob_verifier v(data, map);
    v.expected_ = *expected;
    v.buffer_.resize(buffer_bytes);
    return v;
}

result<verdict> blob_verifier::step(std::uint64_t most_bytes) {
    if (end_ != verdict::more) return end_;
    const std::uint64_t size = map_->blob_bytes();
    // Only as far as all chunks are there.
    const std::uint64_t there = std::min(map_->first_missing(next_ >> chunk_shift) << chunk_shift, size);
    std::uint64_t left = std::min(most_bytes, there - std::min(there, next_));
    if (left == 0 && next_ < size) return verdict::waiting;
    while (left > 0) {
        const std::span<std::byte> part = std::span(buffer_).first(std::min<std::uint64_t>(left, buffer_.size()));
        NEROFS_CHECK(os::pread_exact(data_, part, next_));
        hash_.update(part);
        next_ += part.size();
        left -= part.size();
    }
    if (next_ < size) return verdict::more;
    end_ = hash_.finish() == expected_ ? verdict::match : verdict::mismatch;
    return end_;
}

}  // namespace nerofs::cache
