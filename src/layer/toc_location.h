// Where an eStargz or zstd:chunked layer has its table of contents, and how it is packed there.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "codec/sha256.h"

namespace nerofs::layer {

enum class toc_kind : std::uint8_t { estargz, zstd_chunked };

// Of a layer's descriptor. The first names the digest of eStargz' JSON as it is; zstd:chunked has that of the packed
// one and its place, by names that began with "io.containers." before they did with "io.github.containers.".
inline constexpr std::string_view estargz_digest_annotation = "containerd.io/snapshot/stargz/toc.digest";
inline constexpr std::string_view zstd_digest_annotation = "zstd-chunked.manifest-checksum";
inline constexpr std::string_view zstd_place_annotation = "zstd-chunked.manifest-position";

inline constexpr std::size_t estargz_footer_bytes = 51;
inline constexpr std::uint64_t max_toc_bytes = std::uint64_t{1} << 27;  // packed, and as JSON

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
