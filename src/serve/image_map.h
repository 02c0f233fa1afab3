// Where the bytes of the device lie: device range -> (file, offset). Immutable once made; shared by all connections.
#pragma once

#include <cstdint>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"

namespace nerofs::serve {

// `length` bytes of the device from `device_offset` on are the bytes of `file` from `file_offset` on.
struct segment {
    std::uint64_t device_offset = 0;
    std::uint64_t length = 0;
    fd_ref file;
    std::uint64_t file_offset = 0;
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
        if (length == 0) return true;
        for (auto s = find(offset); length > 0; ++s) {
            const std::uint64_t skip = offset - s->device_offset;
            const std::uint64_t n = length < s->length - skip ? length : s->length - skip;
            if (!visit(s->file, s->file_offset + skip, n)) return false;
            offset += n;
            length -= n;
        }
        return true;
    }

  private:
    std::vector<segment>::const_iterator find(std::uint64_t offset) const;

    std::vector<segment> segments_;
    std::uint64_t size_ = 0;
};

}  // namespace nerofs::serve
