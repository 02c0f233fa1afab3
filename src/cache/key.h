// The name of a blob in the cache. Two blobs whose bytes may differ never have the same key.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"

namespace nerofs::cache {

class blob_key {
  public:
    // "sha256:<64 digits>" as registries write it. Kind usage for anything else, and for sizes of 0 or above
    // max_blob_bytes. The size is part of the key: a manifest that lies about it gets a cache of its own.
    static result<blob_key> from_digest(std::string_view digest, std::uint64_t size);

    // A URL whose bytes have no digest: named by URL, validator (a strong ETag, as the server wrote it) and size
    // together, so that another version is another blob. Only their hash is kept. Kind usage when the validator is
    // empty or weak (W/"..."): such bytes may change unnoticed and belong into a private store.
    static result<blob_key> from_url(std::string_view url, std::string_view validator, std::uint64_t size);

    // From name(); what comes from a directory listing. Kind usage if it can't be one.
    static result<blob_key> from_name(std::string_view name);

    // The name of its directory: "sha256-<hex>-<size>" or "url-<hex>-<size>".
    const std::string& name() const { return name_; }
    std::uint64_t size() const { return size_; }
    // "sha256:<hex>", or empty when the bytes have no known digest.
    std::string digest() const;

    friend bool operator==(const blob_key&, const blob_key&) = default;

  private:
    std::string name_;
    std::uint64_t size_ = 0;
};

}  // namespace nerofs::cache
