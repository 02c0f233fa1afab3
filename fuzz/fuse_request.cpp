// Requests of the FUSE driver: the input is the size of the image (8 bytes) and then a request as it was read. Whatever
// it is, the verdict is one that may be acted on: a range inside the image, an answer whose length the driver takes.
#include "serve/fuse_request.h"

#include <linux/fuse.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

#include "require.h"

namespace {

using namespace nerofs::serve::fuse;
using namespace nerofs::fuzz;

void check(std::span<const std::byte> request, std::uint64_t image_bytes) {
    const std::uint32_t length = request_bytes(request);
    require(length == 0 || (length >= sizeof(fuse_in_header) && length <= read_buffer_bytes));
    const verdict v = judge(request, image_bytes);
    if (length == 0) {
        require(v.what == action::drop);
        return;
    }
    if (v.what == action::drop) {  // only what was cut
        require(request.size() < length);
        return;
    }
    fuse_in_header header;
    std::memcpy(&header, request.data(), sizeof header);
    require(v.unique == header.unique && unique_of(request) == header.unique);
    require((v.what == action::ignore) == (header.opcode == FUSE_FORGET || header.opcode == FUSE_BATCH_FORGET));
    if (v.what == action::read) {
        fuse_read_in in;
        require(header.opcode == FUSE_READ && length == sizeof header + sizeof in);
        std::memcpy(&in, request.data() + sizeof header, sizeof in);
        require(v.offset == in.offset && v.offset < image_bytes && v.length <= image_bytes - v.offset);
        require(v.length > 0 && v.length <= in.size && v.length <= max_read_bytes);
        require(v.length == in.size || v.length == image_bytes - v.offset);  // less only at the end
    }
    if (v.what == action::answer) {
        require(v.error >= 0 && v.error < 512 && v.body_bytes <= v.body.size() && (v.error == 0 || v.body_bytes == 0));
        const reply_header reply = make_reply(v.unique, v.error, v.body_bytes);
        require(reply.length == sizeof reply + v.body_bytes && reply.error == -v.error && reply.unique == v.unique);
    }
    // A successor finds the same request with anything behind it.
    std::vector<std::byte> longer(request.begin(), request.end());
    if (request.size() < length) return;
    longer.resize(std::max<std::size_t>(longer.size(), 3584), std::byte{0x55});
    const verdict again = judge(longer, image_bytes);
    require(again.what == v.what && again.error == v.error && again.offset == v.offset && again.length == v.length &&
            again.body_bytes == v.body_bytes && again.body == v.body);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    std::uint64_t image_bytes = 0;
    if (size < sizeof image_bytes) return 0;
    std::memcpy(&image_bytes, data, sizeof image_bytes);
    const auto bytes = std::as_bytes(std::span(data, size)).subspan(sizeof image_bytes);
    std::vector<std::byte> request(bytes.begin(), bytes.end());
    check(request, image_bytes);
    if (request.size() < sizeof(fuse_in_header)) return 0;
    const auto honest = static_cast<std::uint32_t>(request.size());  // most of the rules lie behind the length
    std::memcpy(request.data(), &honest, sizeof honest);
    check(request, image_bytes);
    return 0;
}
