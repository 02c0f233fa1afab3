// The verdict on request headers, held against the same rules written down a second time. The input
// is the size of the export (8 bytes) and then headers.
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "nbd/request.h"
#include "require.h"

namespace {

using namespace nerofs::nbd;
using namespace nerofs::fuzz;

void check(const request& header, std::uint64_t size) {
    const verdict found = classify(header, export_limits{.size = size});
    const std::uint16_t type = header.type;
    const std::uint32_t length = header.length;
    const std::uint64_t offset = header.offset;
    constexpr std::uint32_t cap = 32u * 1024 * 1024;

    verdict expected{action::answer_error, error_value::einval, 0};
    if (header.magic != 0x25609513u || (type == 1 && length > cap)) {
        expected = {action::drop, error_value::none, 0};
    } else if (type == 2) {
        expected = {action::disconnect, error_value::none, 0};
    } else if (type == 1) {
        expected = {action::answer_error, error_value::eperm, length};
    } else if (type == 4 || type == 6) {
        expected = {action::answer_error, error_value::eperm, 0};
    } else if (type == 0 && (header.flags | 1) == 1 && length <= cap && length <= size && offset <= size - length) {
        expected = {action::answer_read, error_value::none, 0};
    }
    require(found == expected);

    const simple_reply reply = make_simple_reply(header.cookie, found.error);
    require(std::memcmp(reinterpret_cast<const char*>(&reply) + 8, reinterpret_cast<const char*>(&header) + 8, 8) == 0);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    std::uint64_t export_size = 0;
    if (size < sizeof export_size) return 0;
    std::memcpy(&export_size, data, sizeof export_size);
    for (std::size_t at = sizeof export_size; size - at >= sizeof(request); at += sizeof(request)) {
        request header;
        std::memcpy(&header, data + at, sizeof header);
        check(header, export_size);
        header.magic = request_magic;  // most of the rules lie behind the magic
        check(header, export_size);
    }
    return 0;
}
