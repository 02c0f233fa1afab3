// SHA-512 (FIPS 180-4). Rare among digests, so it is plain code over public bytes, with no claim to speed.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace nerofs::oci {

class sha512 {
  public:
    void update(std::span<const std::byte> bytes);
    // Once, at the end.
    std::array<std::byte, 64> finish();

  private:
    static constexpr std::size_t block_bytes = 128;
    void take_block(std::span<const std::byte, block_bytes> block);

    std::array<std::uint64_t, 8> words_{0x6a09e667f3bcc908, 0xbb67ae8584caa73b, 0x3c6ef372fe94f82b, 0xa54ff53a5f1d36f1,
                                        0x510e527fade682d1, 0x9b05688c2b3e6c1f, 0x1f83d9abfb41bd6b, 0x5be0cd19137e2179};
    std::array<std::byte, block_bytes> waiting_{};
    std::uint64_t bytes_ = 0;  // so far; the format's upper 64 bits of the length in bits stay nearly zero
};

}  // namespace nerofs::oci
