// Digests: the names of blobs and manifests, and the proof that bytes are the ones named (OCI image specification,
// "Digests").
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "base/result.h"

namespace nerofs::oci {

enum class digest_algorithm : std::uint8_t { sha256, sha512 };

struct digest {
    digest_algorithm algorithm = digest_algorithm::sha256;
    std::string hex;  // 64 or 128 lower-case digits

    std::string to_string() const;  // "sha256:<hex>"
    friend bool operator==(const digest&, const digest&) = default;
};

// "sha256:<64 lower-case hex digits>" or the same with sha512 and 128. Errors: unsupported for another algorithm, else
// corrupt.
result<digest> parse_digest(std::string_view text);

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
