// Apart from key.cpp, so that programs which never name a URL don't link the digest.
#include "base/wire.h"
#include "cache/key.h"
#include "codec/hex.h"
#include "codec/sha256.h"

namespace nerofs::cache {

result<blob_key> blob_key::from_url(std::string_view url, std::string_view validator, std::uint64_t size) {
    if (validator.empty() || validator.starts_with("W/"))
        return fail(error_kind::usage, "without a strong ETag the bytes of a URL can't be told from a later version's");
    wire_writer all;  // length-prefixed: no two pairs of texts give the same bytes
    all.put(url).put(validator);
    return from_name("url-" + codec::to_hex(codec::sha256::of(all.bytes())) + "-" + std::to_string(size));
}

}  // namespace nerofs::cache
