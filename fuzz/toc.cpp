// A layer's table of contents: where it says it is, how it is packed, and what it tells.
#include "layer/toc.h"

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "layer/tree.h"
#include "require.h"

namespace {

using namespace nerofs;
using namespace nerofs::fuzz;

constexpr std::uint64_t data_end = 1 << 20;

void parse(std::span<const std::byte> json, layer::toc_kind kind) {
    layer::tree members({.whiteouts = layer::whiteout_mode::as_marks, .keep_unresolved = true});
    std::uint64_t last = 0;
    const auto made = layer::parse_toc(json, kind, data_end, [&](layer::tar_entry&& e) {
        require(!e.path.empty() && e.data_offset % 512 == 0 && (e.size == 0 || e.data_offset >= last));
        if (e.size != 0) last = e.data_offset + e.size;
        return members.add(std::move(e));
    });
    if (!made) return;
    require(made->content_bytes >= last && made->content_bytes % 512 == 0);
    std::uint64_t at = 0;
    for (const layer::toc_chunk& c : made->chunks) {
        require(c.content_offset >= at && c.length > 0 && c.length <= layer::max_toc_chunk_bytes);
        require(c.stored_offset < c.stored_end && c.stored_end <= data_end);
        at = c.content_offset + c.length;
    }
    require(at <= made->content_bytes);
    const auto index = layer::index_of_toc(json, {kind, data_end, 1, 0}, {}, data_end + 1);
    if (!index) return;
    const auto file = index->encode();
    require(file && layer::layer_index::parse(*file).has_value());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const auto input = std::as_bytes(std::span(data, size));
    for (const auto kind : {layer::toc_kind::estargz, layer::toc_kind::zstd_chunked}) {
        parse(input, kind);
        // Rarely with the right digest, but the tar within eStargz' is read before that.
        if (size < 4096) (void)layer::unpack_toc({kind, 0, size, size}, input, codec::sha256::of(input));
    }
    if (size >= layer::estargz_footer_bytes)
        (void)layer::estargz_toc_location(input.last<layer::estargz_footer_bytes>(), size);
    (void)layer::zstd_toc_location({reinterpret_cast<const char*>(data), size}, data_end);
    return 0;
}
