// The table of contents that an eStargz or zstd:chunked layer brings: what its members are, and where in the blob their
// data can be had piece by piece.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/result.h"
#include "codec/sha256.h"
#include "layer/layer_index.h"
#include "layer/tar_reader.h"
#include "layer/toc_location.h"

namespace nerofs::layer {

// A table has no headers of the tar. So the content isn't the tar, but one of our own: the data of the files one behind
// the other in the table's order, each at a multiple of 512; all between is zeros.
struct toc {
    std::uint64_t content_bytes = 0;  // a multiple of 512
    std::vector<toc_chunk> chunks;    // all offsets ascend; zstd:chunked's holes have none
};

// `each` gets the members in the table's order, `data_offset` being that in the content: for layer::tree. `data_end`:
// where the files' data ends in the blob. Errors: corrupt (no table of contents, or it contradicts itself), unsupported
// (the table isn't enough to have every byte checked, or the names as the tar has them; beyond a cap), those of `each`.
// The texts name the member where they can. Memory: the chunks. Doesn't block.
//
// What eStargz leaves out of the tar: fractions of times, and its own member "stargz.index.json".
result<toc> parse_toc(std::span<const std::byte> json, toc_kind kind, std::uint64_t data_end,
                      const tar_reader::visitor& each);

// The layer_index that a table makes, for a blob of this digest and size. Errors: those of parse_toc, layer::tree and
// erofs::write_index, unsupported (no file has data).
result<layer_index> index_of_toc(std::span<const std::byte> json, const toc_location& where,
                                 const codec::sha256_digest& stored_digest, std::uint64_t stored_bytes);

}  // namespace nerofs::layer
