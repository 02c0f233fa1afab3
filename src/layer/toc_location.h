// Whether a layer has a table of contents, as eStargz and zstd:chunked ones do, where it is, and how it is packed
// there.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "codec/sha256.h"
#include "layer/layer_index.h"

namespace nerofs::layer {

enum class toc_kind : std::uint8_t { estargz, zstd_chunked };

inline constexpr std::size_t estargz_footer_bytes = 51;
inline constexpr std::uint64_t max_toc_bytes = std::uint64_t{1} << 27;  // packed, and as JSON

// What a layer's descriptor says of its table.
struct toc_reference {
    toc_kind kind = toc_kind::estargz;
    codec::sha256_digest digest{};  // of eStargz' JSON as it is; of zstd:chunked's as it is packed
    std::string place;              // zstd:chunked: for zstd_toc_location()

    bool operator==(const toc_reference&) const = default;
};

// By the annotations; nothing: it has none, or one that isn't for this compression. Pure.
std::optional<toc_reference> find_toc(const std::map<std::string, std::string, std::less<>>& annotations,
                                      compression how);

struct toc_location {
    toc_kind kind = toc_kind::estargz;
    std::uint64_t offset = 0;      // in the blob; files' data lies before it
    std::uint64_t bytes = 0;       // as it is packed there
    std::uint64_t json_bytes = 0;  // zstd:chunked; eStargz doesn't tell
};

// By the last estargz_footer_bytes of a blob of so many bytes (github.com/containerd/stargz-snapshotter,
// docs/estargz.md), or by zstd:chunked's annotation "offset:bytes:json_bytes:1" (github.com/containers/storage,
// pkg/chunked). Errors: corrupt (there is none, or not within the blob), unsupported (another type, beyond
// max_toc_bytes). Pure.
result<toc_location> estargz_toc_location(std::span<const std::byte, estargz_footer_bytes> footer,
                                          std::uint64_t blob_bytes);
result<toc_location> zstd_toc_location(std::string_view annotation, std::uint64_t blob_bytes);

// The JSON, of the bytes at that place, if its digest is the one that the annotation has. Takes memory for both, up to
// max_toc_bytes. Errors: corrupt, unsupported (beyond max_toc_bytes).
result<std::vector<std::byte>> unpack_toc(const toc_location& where, std::span<const std::byte> packed,
                                          const codec::sha256_digest& digest);

}  // namespace nerofs::layer
