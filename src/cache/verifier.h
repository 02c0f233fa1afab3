// Checks a whole blob against its digest, a step at a time: from the cache file, as far as it is there.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "cache/presence/live_map.h"
#include "codec/sha256.h"

namespace nerofs::cache {

enum class verdict : std::uint8_t {
    more,      // there is more to read: step again
    waiting,   // the next chunk isn't there yet
    match,     // all bytes are those the digest names
    mismatch,  // they aren't: quarantine the blob
};

// One thread at a time. Uses a fixed buffer; can be dropped at any time. Hashing may follow the arrival of the bytes,
// so that little is left when the last one has come.
class blob_verifier {
  public:
    // `digest` is "sha256:<hex>", else kind usage. `data` and `map` must outlive the verifier.
    static result<blob_verifier> make(fd_ref data, const live_map& map, std::string_view digest);

    // Reads and hashes at most about `most_bytes`. An error is the disk's.
    result<verdict> step(std::uint64_t most_bytes = 4u << 20);

    std::uint64_t checked_bytes() const { return next_; }

  private:
    blob_verifier(fd_ref data, const live_map& map) : data_(data), map_(&map) {}

    fd_ref data_;
    const live_map* map_;
    codec::sha256_digest expected_{};
    codec::sha256 hash_;
    std::vector<std::byte> buffer_;
    std::uint64_t next_ = 0;
    verdict end_ = verdict::more;
};

}  // namespace nerofs::cache
