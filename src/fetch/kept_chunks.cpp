#include "fetch/kept_chunks.h"

#include <algorithm>
#include <bit>
#include <string>

#include "base/log.h"
#include "base/zeros.h"
#include "codec/sha256.h"
#include "os/files.h"

namespace nerofs::fetch {
namespace {

constexpr std::size_t buffer_bytes = std::size_t{256} << 10;

// False: what `each` says, or the disk.
template <class Each>
bool for_each_piece(fd_ref data, layer::content_range part, Each&& each) {
    std::vector<std::byte> buffer(std::min<std::uint64_t>(buffer_bytes, part.end - part.begin));
    for (std::uint64_t at = part.begin; at < part.end;) {
        const auto piece = std::span(buffer).first(std::min<std::uint64_t>(buffer.size(), part.end - at));
        if (!os::pread_exact(data, piece, at) || !each(std::span<const std::byte>(piece))) return false;
        at += piece.size();
    }
    return true;
}

}  // namespace

kept_chunks::kept_chunks(const cache::blob_writer& writer, std::shared_ptr<const layer::layer_index> layer)
    : writer_(writer), layer_(std::move(layer)), bits_(cache::bitmap_words(writer.map().blob_bytes())) {
    const std::vector<std::uint64_t> kept = writer.kept();
    for (std::size_t i = 0; i < kept.size(); ++i) {
        bits_[i] = kept[i];
        left_ += static_cast<std::uint64_t>(std::popcount(kept[i]));
    }
}

void kept_chunks::look_at(std::uint64_t offset, std::uint64_t length) {
    const std::uint64_t end = layer_->content_bytes;
    if (left_ == 0 || length == 0 || offset >= end) return;
    const cache::chunk_range wanted = cache::chunks_of(offset, std::min(length, end - offset));
    for (std::uint64_t chunk = wanted.first; chunk < wanted.end; ++chunk) {
        if (!has(chunk)) continue;
        const std::uint64_t begin = chunk * cache::chunk_bytes;
        const layer::content_range all = layer_->whole_units({begin, std::min(begin + cache::chunk_bytes, end)});
        const cache::chunk_range touched = cache::chunks_of(all.begin, all.end - all.begin);
        const bool whole = on_disk(touched);
        bool right = whole;
        std::uint64_t at = all.begin;
        for (std::size_t u = layer_->unit_at(at); right && at < all.end; ++u) {
            const bool last = u == layer_->unit_count() || layer_->unit(u).begin >= all.end;
            const layer::content_range unit = last ? layer::content_range{all.end, all.end} : layer_->unit(u);
            right = has_zeros({at, unit.begin}) && (last || is_right(u));
            at = unit.end;
        }
        // All chunks that have nothing but these units are right now; or all that have anything of them are wrong.
        const cache::chunk_range inner = cache::chunks_within(all.begin, all.end, end);
        take_out(right ? inner : whole ? touched : cache::chunk_range{chunk, chunk + 1}, right);
    }
}

bool kept_chunks::on_disk(cache::chunk_range chunks) const {
    for (std::uint64_t chunk = chunks.first; chunk < chunks.end; ++chunk)
        if (!has(chunk) && !writer_.map().present(chunk)) return false;
    return true;
}

bool kept_chunks::is_right(std::size_t unit) const {
    codec::sha256 hash;
    const bool read = for_each_piece(writer_.data(), layer_->unit(unit), [&](std::span<const std::byte> piece) {
        hash.update(piece);
        return true;
    });
    if (read && hash.finish() == *layer_->unit_digest(unit)) return true;
    log::warning(layer::short_name(layer_->stored_digest) + ": unit " + std::to_string(unit) +
                 ": the cache's disk has other bytes than were written; they are fetched again");
    return false;
}

bool kept_chunks::has_zeros(layer::content_range part) const {
    return part.begin >= part.end || for_each_piece(writer_.data(), part, is_zero);
}

void kept_chunks::take_out(cache::chunk_range chunks, bool right) {
    if (right) writer_.confirm(chunks);
    for (std::uint64_t chunk = chunks.first; chunk < chunks.end; ++chunk) {
        const std::uint64_t bit = std::uint64_t{1} << (chunk % 64);
        if ((bits_[chunk / 64].fetch_and(~bit) & bit) != 0) --left_;
    }
}

}  // namespace nerofs::fetch
