#include "fetch/protocol/remote_source.h"

#include <algorithm>
#include <cstring>
#include <numeric>

namespace nerofs::fetch {
std::uint64_t remote_identity::bytes() const {
    return std::accumulate(parts.begin(), parts.end(), std::uint64_t{0},
                           [](std::uint64_t sum, const remote_part& p) { return sum + p.size; });
}

std::uint64_t remote_identity::offset_of(std::size_t n) const {
    if (parts.size() == 1) return n == 0 ? 0 : parts.front().size;
    std::uint64_t offset = 0;
    for (std::size_t i = 0; i < n; ++i)
        offset += (parts[i].size + part_block_bytes - 1) / part_block_bytes * part_block_bytes;
    return offset;
}

bool remote_identity::has_digests() const {
    return std::all_of(parts.begin(), parts.end(), [](const remote_part& p) { return !p.digest.empty(); });
}

void wipe(remote_secrets& s) {
    const auto clear = [](std::string& text) {
        ::explicit_bzero(text.data(), text.size());
        text.clear();
    };
    for (std::string* text : {&s.username, &s.password, &s.identity_token, &s.url}) clear(*text);
    for (std::string& text : s.proxies) clear(text);
    s.proxies.clear();
}

}  // namespace nerofs::fetch
