// A layer on its first way through: its stored bytes go in as they come, its content comes out, and at the end what has
// to be kept of it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>

#include "base/result.h"
#include "codec/sha256.h"
#include "layer/layer_index.h"

namespace nerofs::layer {

struct ingest_options {
    std::optional<compression> how{};  // nothing: by the first bytes
    // What the layer is expected to be; errors are named by the first one.
    std::optional<codec::sha256_digest> stored_digest{};
    std::optional<codec::sha256_digest> content_digest{};  // the diffID
    std::uint64_t most_content_bytes = max_content_bytes;
    // As tree_options has them.
    std::uint64_t most_names = tree_options{}.names;
    std::uint64_t most_text_bytes = tree_options{}.text_bytes;
    // Digests are computed by so many threads beside the caller's: 0, 1 or 2.
    unsigned hash_threads = 2;
    // The next bytes of content, in order; valid during the call, on the caller's thread. Its error ends the pass.
    std::function<status(std::span<const std::byte>)> content{};
};

// One streaming pass over a layer's blob. gzip streams get a checkpoint shortly before each unit of content, fewer
// where windows don't compress, so that these stay below 0.8 % of the content; zstd streams one at the last frame that
// doesn't begin behind the unit does (one that is a single frame has only the first, and is decoded from its start each
// time).
//
// Memory: the tree (tree.h), windows and digests, some MiB of buffers. One thread at a time; blocks only for its own
// hashing threads. Errors, "layer sha256:<12 digits>..: what", end it: corrupt (damaged, cut off, another digest than
// expected, not a tar), unsupported (what the index can't hold), permanent (a limit of the options), the callback's.
class layer_ingest {
  public:
    explicit layer_ingest(ingest_options options);
    layer_ingest(layer_ingest&&) noexcept;
    layer_ingest& operator=(layer_ingest&&) noexcept;
    ~layer_ingest();

    // What was handed on isn't known to be right before finish() has said so.
    status push(std::span<const std::byte> stored);
    // After the last piece, once.
    result<layer_index> finish();

  private:
    struct state;
    std::unique_ptr<state> state_;
};

}  // namespace nerofs::layer
