#include "fetch/layer_tocs.h"

#include <fmt/format.h>

#include <algorithm>
#include <span>
#include <vector>

#include "base/log.h"
#include "codec/sha256.h"
#include "layer/toc.h"
#include "source/in_order.h"

namespace nerofs::fetch {
namespace {

result<layer::toc_location> find(const remote_layer& layer, std::chrono::milliseconds timeout) {
    if (layer.toc->kind == layer::toc_kind::zstd_chunked)
        return layer::zstd_toc_location(layer.toc->place, layer.blob.size);
    constexpr std::size_t footer = layer::estargz_footer_bytes;
    if (layer.blob.size < footer) return fail(error_kind::corrupt, "the layer is too short");
    NEROFS_TRY(const auto bytes, source::read_range(*layer.source, layer.blob.size - footer, layer.blob.size, timeout));
    return layer::estargz_toc_location(std::span<const std::byte, footer>(bytes), layer.blob.size);
}

}  // namespace

std::optional<index_offer::offered> layer_tocs::get(const remote_layer& layer) {
    if (!layer.toc) return std::nullopt;
    auto found = read(layer);
    if (found) return std::move(*found);
    log::info(
        fmt::format("the table of contents of layer {} isn't used: {}", layer.blob.digest, found.error().message()));
    return std::nullopt;
}

result<index_offer::offered> layer_tocs::read(const remote_layer& layer) const {
    NEROFS_TRY(const layer::toc_location where, find(layer, timeout_));
    NEROFS_TRY(const auto packed,
               source::read_range(*layer.source, where.offset, where.offset + where.bytes, timeout_));
    NEROFS_TRY(const auto json, layer::unpack_toc(where, packed, layer.toc->digest));
    const auto stored = codec::sha256_named(layer.blob.digest);
    if (!stored) return fail(error_kind::unsupported, "the layer's digest isn't a sha256");
    offered found;
    NEROFS_TRY(found.index, layer::index_of_toc(json, where, *stored, layer.blob.size));
    NEROFS_TRY(found.file, found.index.encode());
    std::ranges::copy(std::span(found.file).last(found.index.file_digest.size()), found.index.file_digest.begin());
    return found;
}

std::string toc_index_name(const std::string& layer, const layer::toc_reference& toc) {
    const std::string all = fmt::format("toc\n{}\n{}\n{}", layer, codec::sha256_name(toc.digest), toc.place);
    return codec::sha256_name(codec::sha256::of(std::as_bytes(std::span(all))));
}

}  // namespace nerofs::fetch
