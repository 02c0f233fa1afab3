// What of a checkpoint's window is needed, so that less has to be kept of it.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "base/result.h"
#include "codec/gzip_index.h"

namespace nerofs::codec {

// The window of `from` with zeros where nothing that follows refers to, and without what lies before the first byte
// that is: what is decoded from there is the same. `compressed` is as decode_gzip_span() takes it; `decoded_bytes` of
// what it decodes to are looked at: gzip_window_bytes, or all there are if these are fewer (nothing further back is
// ever referred to). Takes three decodings of so many bytes. Errors: those of decode_gzip_span().
result<std::vector<std::byte>> needed_gzip_window(const gzip_checkpoint& from, std::span<const std::byte> compressed,
                                                  std::size_t decoded_bytes);

}  // namespace nerofs::codec
