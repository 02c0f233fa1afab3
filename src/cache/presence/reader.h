// What the server has of a cached blob: its data file and a read-only view of its presence map.
#pragma once

#include <cstdint>

#include "base/result.h"
#include "base/unique_fd.h"
#include "cache/presence/live_map.h"

namespace nerofs::cache {

// Read-only descriptors of one blob; they can be passed on and outlive whoever opened them.
struct reader_files {
    unique_fd data;
    unique_fd map;
};

// Any thread. Makes no system call but futex(2) in wait_change, so it works in the tightest sandbox.
class blob_reader {
  public:
    static result<blob_reader> open(reader_files files, std::uint64_t blob_bytes) {
        blob_reader r;
        NEROFS_TRY(r.map_, live_map::map(files.map, blob_bytes, false));
        r.files_ = std::move(files);
        return r;
    }

    // Ask before reading; bytes that were there once stay there. After a `missing`, take generation() *before* asking
    // a second time and wait for a change of it: then no arrival is overlooked.
    presence lookup(std::uint64_t offset, std::uint64_t length) const { return map_.lookup(offset, length); }
    fd_ref data() const { return files_.data; }
    const live_map& map() const { return map_; }

  private:
    reader_files files_;
    live_map map_;
};

}  // namespace nerofs::cache
