// Recovery records, ours and the peer's, as a hostile writer could leave them.
#include "mount/record.h"

#include <cstdlib>

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    if (const auto r = nerofs::mount::decode_record(text); r && !r->id.empty()) {
        // What was accepted is written again as it was read.
        const auto again = nerofs::mount::decode_record(nerofs::mount::encode_record(*r));
        if (!again || nerofs::mount::encode_record(*again) != nerofs::mount::encode_record(*r)) std::abort();
    }
    return 0;
}
