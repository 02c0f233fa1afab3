// A cached blob as the server sees it: bytes that may not be there yet.
#pragma once

#include <cstdint>

#include "base/result.h"
#include "base/unique_fd.h"
#include "cache/presence/reader.h"
#include "cache/presence/touch_map.h"

namespace nerofs::serve {

class blob_view {
  public:
    // `id` names the blob between server and fetcher. The descriptors must stay open; `touched` may be none.
    static result<blob_view> open(std::uint32_t id, cache::reader_files files, fd_ref touched,
                                  std::uint64_t blob_bytes) {
        blob_view v;
        v.id_ = id;
        NEROFS_TRY(v.reader_, cache::blob_reader::open(std::move(files), blob_bytes));
        if (touched) {
            NEROFS_TRY(v.touched_, cache::touch_map::map(touched, blob_bytes, true));
            v.counts_touches_ = true;
        }
        return v;
    }

    std::uint32_t id() const { return id_; }
    fd_ref data() const { return reader_.data(); }
    const cache::live_map& map() const { return reader_.map(); }
    cache::presence lookup(std::uint64_t offset, std::uint64_t length) const { return reader_.lookup(offset, length); }
    // These bytes were answered with.
    void touch(std::uint64_t offset, std::uint64_t length) const {
        if (counts_touches_) touched_.mark(cache::chunks_of(offset, length));
    }

  private:
    std::uint32_t id_ = 0;
    cache::blob_reader reader_;
    cache::touch_map touched_;
    bool counts_touches_ = false;
};

}  // namespace nerofs::serve
