// Superblocks: no input may crash the checks, make them ask for too much, or be accepted with numbers that don't fit
// the bytes there are.
#include <cstddef>
#include <cstdint>
#include <span>

#include "erofs/superblock.h"
#include "require.h"

namespace {

using namespace nerofs;
using namespace nerofs::fuzz;

void check(std::span<const std::byte> input, std::uint64_t available, bool has_extra_devices) {
    const auto info = erofs::check_superblock(input, available, has_extra_devices);
    if (!info) {
        const std::string text = info.error().message();
        require(!text.empty());
        for (const char c : text) require(static_cast<unsigned char>(c) >= 0x20 && c != 0x7f);
        return;
    }
    require(info->needed_bytes <= available);
    require(info->block_bits >= 9 && info->block_bits <= 16);
    require(info->devices.size() <= erofs::extra_devices_cap);
    require(!info->feature_names().empty() || info->feature_incompat == 0);
    require(!info->first_kernel().series().empty() && info->uuid_text().size() == 36);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::span input(reinterpret_cast<const std::byte*>(data), size);
    require(erofs::superblock_wants(input) <= (17U << 20));
    check(input, size, false);
    check(input, size, true);
    check(input, std::uint64_t{1} << 40, false);  // as if much more followed
    return 0;
}
