// The content of a layer, checked, read through the blob it is stored in.
#pragma once

#include <cstdint>
#include <memory>

#include "base/result.h"
#include "codec/zinfo.h"
#include "layer/layer_index.h"
#include "source/byte_source.h"

namespace nerofs::fetch {

struct decoding_source_options {
    // Stored bytes that all reads together have asked for and not decoded yet: what waits in memory at most. A read
    // beyond it waits for its turn, by priority and age.
    std::uint64_t most_stored_bytes = std::uint64_t{64} << 20;
    // The most that is asked for by one read from below; a longer range is asked for in two such pieces ahead.
    std::uint64_t piece_bytes = std::uint64_t{8} << 20;
    unsigned workers = 2;
};

// Offsets and lengths of its reads are of the content. A read takes one contiguous range of the stored blob, from the
// place where decoding its first unit can begin to where its last one ends at the latest, and decodes it as it arrives;
// each unit is handed on when all of it is there and its digest is right (of one that is only partly asked for, that
// part). What is asked for should be whole units, as decoded_together() says. A unit that is wrong is fetched once
// more, and decoded by zlib; then it is an error. Nothing is kept between reads: a layer that is one zstd frame is read
// from its start each time.
//
// Memory: most_stored_bytes, and for each read a unit, a decoder (128 KiB; up to 128 MiB for zstd, as the stream says)
// and a window. Threads: all functions may be called from any thread but its own; sinks and `done` are called on its
// workers, which it starts with the first read. Nothing is decoded on the threads of the source below.
class decoding_source final : public source::byte_source {
  public:
    // `stored` has to outlive it. The index: as layer_index::parse() takes it, or index_of() makes it.
    decoding_source(std::shared_ptr<const layer::layer_index> index, source::byte_source& stored,
                    decoding_source_options options = {});
    // Ends all reads with kind cancelled and returns when their completions have been called. The source below may go
    // on with what was asked of it; what it brings is dropped.
    ~decoding_source() override;

    // Errors: corrupt (a unit was wrong twice: "layer sha256:..: unit 3: why"), timeout, cancelled, usage (beyond the
    // end), those of the source below, the sink's.
    id read(source::read_request what, completion done) override;
    void cancel(id which) override;

    decoding_source(const decoding_source&) = delete;
    decoding_source& operator=(const decoding_source&) = delete;

  private:
    class engine;
    std::shared_ptr<engine> engine_;
};

// What costs no more than this part of it: whole units, or as many as there are between checkpoints.
layer::content_range decoded_together(const layer::layer_index& index, layer::content_range part);

// What a decoding_source has to know of a layer whose checkpoints come as a zinfo file, from a peer: without digests of
// units, nothing that is decoded is checked. Takes some 0.1 ms a checkpoint. Errors: corrupt (checkpoints beyond the
// content).
result<layer::layer_index> index_of(const codec::zinfo& checkpoints, const codec::sha256_digest& stored_digest,
                                    std::uint64_t stored_bytes, std::uint64_t content_bytes);

}  // namespace nerofs::fetch
