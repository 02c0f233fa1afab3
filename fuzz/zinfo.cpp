// A zinfo file: whatever is taken ascends, lies in its stream, and is written again to a file that says the same.
#include "codec/zinfo.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "require.h"

namespace {

using namespace nerofs::codec;
using namespace nerofs::fuzz;

void check(std::span<const std::byte> file, std::uint64_t compressed_bytes) {
    const auto parsed = zinfo::parse(file, compressed_bytes);
    if (!parsed) {
        require(parsed.error().kind == nerofs::error_kind::corrupt);
        return;
    }
    require(parsed->size() >= 1 && parsed->size() <= max_zinfo_checkpoints && parsed->span_bytes() != 0);
    zinfo_writer writer(parsed->span_bytes());
    for (std::size_t i = 0; i < parsed->size(); ++i) {
        const auto at = parsed->at(i);
        require(at.compressed_offset >= 10 && at.compressed_offset < compressed_bytes && at.bits <= 7);
        require(at.window.size() <= gzip_window_bytes && at.window.size() <= at.decoded_offset);
        require(parsed->at(parsed->find(at.decoded_offset)).decoded_offset == at.decoded_offset);
        require(writer.append(at).has_value());
    }
    const auto again = std::move(writer).finish();
    require(again.has_value());
    require(again->size() == zinfo_header_bytes + parsed->size() * zinfo_checkpoint_bytes);
    const auto reparsed = zinfo::parse(*again, compressed_bytes);
    require(reparsed && reparsed->version() == 2 && reparsed->size() == parsed->size());
    for (std::size_t i = 0; i < parsed->size(); ++i) {
        const auto before = parsed->at(i);
        const auto after = reparsed->at(i);
        require(before.compressed_offset == after.compressed_offset && before.decoded_offset == after.decoded_offset);
        require(before.bits == after.bits);
        require(std::equal(before.window.begin(), before.window.end(), after.window.begin(), after.window.end()));
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const auto file = std::as_bytes(std::span(data, size));
    check(file, UINT64_MAX);
    check(file, std::uint64_t{4} << 20);
    return 0;
}
