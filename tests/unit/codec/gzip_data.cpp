#include "gzip_data.h"

#include <sys/mman.h>
#include <zlib.h>

#include <algorithm>
#include <array>
#include <new>
#include <random>
#include <stdexcept>
#include <string>

namespace nerofs::codec::test {

bytes text(std::size_t size, std::uint32_t seed) {
    std::minstd_rand random(seed);
    std::vector<std::string> words(600);
    for (auto& word : words) {
        word.resize(1 + random() % 11);
        for (char& c : word) c = static_cast<char>('a' + random() % 26);
        word += ' ';
    }
    bytes made;
    made.reserve(size + 12);
    while (made.size() < size) {
        const std::string& word = words[random() % words.size()];
        const auto* raw = reinterpret_cast<const std::byte*>(word.data());
        made.insert(made.end(), raw, raw + word.size());
    }
    made.resize(size);
    return made;
}

bytes noise(std::size_t size, std::uint32_t seed) {
    std::mt19937 random(seed);
    bytes made(size);
    for (auto& b : made) b = static_cast<std::byte>(random());
    return made;
}

bytes gzip(std::span<const std::byte> plain, how way) {
    z_stream z{};
    if (deflateInit2(&z, way.level, Z_DEFLATED, 15 + 16, 8, way.strategy) != Z_OK) throw std::bad_alloc();
    gz_header header{};
    std::array<Bytef, 5> extra{'x', 'y', 1, 0, 7};
    std::string name = "name";
    std::string comment = "comment";
    if (way.full_header) {
        header.extra = extra.data();
        header.extra_len = extra.size();
        header.name = reinterpret_cast<Bytef*>(name.data());
        header.comment = reinterpret_cast<Bytef*>(comment.data());
        header.hcrc = 1;
        deflateSetHeader(&z, &header);
    }
    bytes made(deflateBound(&z, plain.size()) + 64);
    z.next_in = const_cast<Bytef*>(reinterpret_cast<const Bytef*>(plain.data()));
    z.avail_in = static_cast<uInt>(plain.size());
    z.next_out = reinterpret_cast<Bytef*>(made.data());
    z.avail_out = static_cast<uInt>(made.size());
    const int answer = deflate(&z, Z_FINISH);
    made.resize(z.total_out);
    deflateEnd(&z);
    if (answer != Z_STREAM_END) throw std::runtime_error("deflate");
    return made;
}

bytes operator+(bytes a, std::span<const std::byte> b) {
    a.insert(a.end(), b.begin(), b.end());
    return a;
}

gzip_index_options spans_of(std::uint64_t span_bytes) {
    gzip_index_options options;
    options.max_decoded_bytes = std::uint64_t{1} << 40;
    options.span_bytes = span_bytes;
    return options;
}

result<index> index_of(std::span<const std::byte> stream, gzip_index_options options, std::size_t piece) {
    index made;
    gzip_index_events events;
    events.decoded = [&made](std::span<const std::byte> more) {
        made.decoded.insert(made.decoded.end(), more.begin(), more.end());
        return status{};
    };
    events.checkpoint = [&made](const gzip_checkpoint& at) {
        if (made.decoded.size() != at.decoded_offset)
            throw std::runtime_error("a checkpoint isn't where the output is");
        made.checkpoints.push_back(
            {at.compressed_offset, at.decoded_offset, at.bits, bytes(at.window.begin(), at.window.end())});
        return status{};
    };
    gzip_indexer indexer(options, std::move(events));
    while (!stream.empty()) {
        const auto now = stream.first(std::min(piece, stream.size()));
        NEROFS_CHECK(indexer.push(now));
        stream = stream.subspan(now.size());
    }
    NEROFS_TRY(made.totals, indexer.finish());
    return made;
}

guarded::guarded(std::size_t size) {
    constexpr std::size_t page = 4096;
    const std::size_t usable = (size + page - 1) / page * page;
    mapped_ = usable + page;
    map_ = mmap(nullptr, mapped_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (map_ == MAP_FAILED) throw std::bad_alloc();
    auto* start = static_cast<std::byte*>(map_);
    if (mprotect(start + usable, page, PROT_NONE) != 0) throw std::runtime_error("mprotect");
    span_ = std::span(start + usable - size, size);
}

guarded::guarded(std::span<const std::byte> content) : guarded(content.size()) {
    std::copy(content.begin(), content.end(), span_.begin());
}

guarded::~guarded() {
    munmap(map_, mapped_);
}

}  // namespace nerofs::codec::test
