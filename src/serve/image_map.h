// Where the bytes of the device lie: device range -> (file, offset), and whether they are there. Immutable once made;
// shared by all connections.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"
#include "serve/blob_view.h"

namespace nerofs::serve {

// `length` bytes of the device from `device_offset` on are the bytes of `file` from `file_offset` on.
struct segment {
    std::uint64_t device_offset = 0;
    std::uint64_t length = 0;
    fd_ref file;
    std::uint64_t file_offset = 0;
    const blob_view* blob = nullptr;  // the file is this blob's cache file; must outlive the map
};

class image_map {
  public:
    // The segments must cover the device from 0 without a gap or an overlap, in order. Kind usage if they don't.
    static result<image_map> make(std::vector<segment> segments);

    std::uint64_t size() const { return size_; }

    // Calls `visit(file, file_offset, length)` for each piece of [offset, offset + length), in order, as long as it
    // returns true. The range must lie inside the device. False if a visit returned false.
    template <class Visit>
    bool for_each_piece(std::uint64_t offset, std::uint64_t length, Visit&& visit) const {
        return walk(offset, length,
                    [&visit](const segment& s, std::uint64_t at, std::uint64_t n) { return visit(s.file, at, n); });
    }

    // Fills the span with the range's bytes as they lie in the files. False if any of them can't be read.
    bool read(std::uint64_t offset, std::span<std::byte> into) const;

    // Whether the range can be read now. What was there once stays there, as long as the blob isn't found to be wrong.
    cache::presence lookup(std::uint64_t offset, std::uint64_t length) const {
        if (!has_blobs_) return cache::presence::there;
        auto found = cache::presence::there;
        walk(offset, length, [&found](const segment& s, std::uint64_t at, std::uint64_t n) {
            if (s.blob == nullptr) return true;
            const cache::presence here = s.blob->lookup(at, n);
            if (here != cache::presence::there) found = here;
            return here != cache::presence::failed;
        });
        return found;
    }
    // Calls `visit(blob, blob_offset, length)` for each piece of the range that isn't all there.
    template <class Visit>
    void for_each_missing(std::uint64_t offset, std::uint64_t length, Visit&& visit) const {
        walk(offset, length, [&visit](const segment& s, std::uint64_t at, std::uint64_t n) {
            if (s.blob != nullptr && s.blob->lookup(at, n) == cache::presence::missing) visit(*s.blob, at, n);
            return true;
        });
    }
    // The range was answered with; tells the fetcher of hits.
    void touch(std::uint64_t offset, std::uint64_t length) const {
        if (!has_blobs_) return;
        walk(offset, length, [](const segment& s, std::uint64_t at, std::uint64_t n) {
            if (s.blob != nullptr) s.blob->touch(at, n);
            return true;
        });
    }

  private:
    template <class Visit>
    bool walk(std::uint64_t offset, std::uint64_t length, Visit&& visit) const {
        if (length == 0) return true;
        for (auto s = find(offset); length > 0; ++s) {
            const std::uint64_t skip = offset - s->device_offset;
            const std::uint64_t n = length < s->length - skip ? length : s->length - skip;
            if (!visit(*s, s->file_offset + skip, n)) return false;
            offset += n;
            length -= n;
        }
        return true;
    }
    std::vector<segment>::const_iterator find(std::uint64_t offset) const;

    std::vector<segment> segments_;
    std::uint64_t size_ = 0;
    bool has_blobs_ = false;
};

}  // namespace nerofs::serve
