// The proof that bytes are the ones that a digest names. Apart from the digests' text, so that what only reads names
// doesn't load libcrypto.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string_view>

#include "base/result.h"
#include "oci/digest.h"

namespace nerofs::oci {

// A digest that grows piece by piece, of either algorithm. One thread at a time.
class digester {
  public:
    explicit digester(digest_algorithm algorithm);
    digester(digester&&) noexcept;
    digester& operator=(digester&&) noexcept;
    ~digester();

    void update(std::span<const std::byte> bytes);
    // Once, at the end.
    digest finish();

  private:
    struct state;
    std::unique_ptr<state> state_;
};

digest digest_of(std::span<const std::byte> bytes, digest_algorithm algorithm = digest_algorithm::sha256);

// Whether the bytes are the ones that `expected` names. Error: corrupt, with both digests; `what` names the bytes.
status check_digest(std::span<const std::byte> bytes, const digest& expected, std::string_view what);

}  // namespace nerofs::oci
