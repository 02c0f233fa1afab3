#include "serve/image_map.h"

#include <sys/types.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <limits>

#include "base/checked.h"

namespace nerofs::serve {

result<image_map> image_map::make(std::vector<segment> segments) {
    image_map map;
    for (const segment& s : segments) {
        if (s.device_offset != map.size_ || s.length == 0 || !s.file)
            return fail(error_kind::usage, "the image map has a gap or an overlap");
        const auto file_end = checked_add(s.file_offset, s.length);
        if (!file_end || *file_end > static_cast<std::uint64_t>(std::numeric_limits<off_t>::max()))
            return fail(error_kind::usage, "the image map goes beyond the end of any file");
        const auto end = checked_add(s.device_offset, s.length);
        if (!end) return fail(error_kind::usage, "the image map is too large");
        map.size_ = *end;
        if (s.blob != nullptr) map.has_blobs_ = true;
    }
    map.segments_ = std::move(segments);
    return map;
}

bool image_map::read(std::uint64_t offset, std::span<std::byte> into) const {
    return for_each_piece(offset, into.size(), [&into](fd_ref file, std::uint64_t at, std::uint64_t length) {
        while (length > 0) {
            const ssize_t n = ::pread(file.get(), into.data(), length, static_cast<off_t>(at));
            if (n < 0 && errno == EINTR) continue;
            if (n <= 0) return false;  // an error, or the file has become shorter: never zeros instead
            into = into.subspan(static_cast<std::size_t>(n));
            at += static_cast<std::uint64_t>(n);
            length -= static_cast<std::uint64_t>(n);
        }
        return true;
    });
}

std::vector<segment>::const_iterator image_map::find(std::uint64_t offset) const {
    return std::prev(std::upper_bound(segments_.begin(), segments_.end(), offset,
                                      [](std::uint64_t o, const segment& s) { return o < s.device_offset; }));
}

}  // namespace nerofs::serve
