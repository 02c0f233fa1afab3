// SHA-256 (FIPS 180-4): the name of a blob, and the proof that its bytes are the ones asked for.
#pragma once

#include <array>
#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace nerofs::codec {

using sha256_digest = std::array<std::byte, 32>;

// A digest that grows piece by piece. One thread at a time. Throws std::bad_alloc when there is no memory for it and
// std::runtime_error when OpenSSL has no SHA-256 (a broken installation); nothing else can fail.
class sha256 {
  public:
    sha256();
    sha256(sha256&&) noexcept;
    sha256& operator=(sha256&&) noexcept;
    ~sha256();

    sha256& update(std::span<const std::byte> bytes);
    // The digest of everything since the start or the last finish(); the object is then as new.
    sha256_digest finish();

    static sha256_digest of(std::span<const std::byte> bytes);

  private:
    struct state;
    std::unique_ptr<state> state_;
};

// As registries write it: "sha256:<hex>", 64 lower-case digits; read in either case.
std::string sha256_name(const sha256_digest& digest);
std::optional<sha256_digest> sha256_named(std::string_view name);

}  // namespace nerofs::codec
