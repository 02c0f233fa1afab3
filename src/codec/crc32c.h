// CRC-32C (Castagnoli): the checksum of EROFS superblocks, iSCSI, ext4. Finds accidents, not attackers.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace nerofs::codec {

// The CRC-32C of `bytes`, or of everything so far when `previous` is the value returned for what came before them.
// RFC 3720's form: the register starts with all ones and is inverted at the end. Never blocks, never fails, any thread.
std::uint32_t crc32c(std::span<const std::byte> bytes, std::uint32_t previous = 0);

// The same without the CPU's instruction: what crc32c() uses where there is none. Public for tests to compare the two.
std::uint32_t crc32c_portable(std::span<const std::byte> bytes, std::uint32_t previous = 0);

}  // namespace nerofs::codec
