#include "commands/remote_reader.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "base/checked.h"
#include "os/files.h"

namespace nerofs::commands {
namespace {

using namespace std::chrono_literals;
using clock = std::chrono::steady_clock;

constexpr auto look_every = 100ms;  // at what no arrival tells: the fetcher's death, and that it has given up

}  // namespace

result<std::unique_ptr<remote_reader>> remote_reader::make(mount::remote_image image) {
    std::unique_ptr<remote_reader> made(new remote_reader(std::move(image)));
    NEROFS_TRY(std::vector<serve::server_setup::blob> blobs, made->image_.blobs());
    for (std::uint32_t i = 0; i < blobs.size(); ++i) {
        part p;
        p.begin = made->image_.identity().offset_of(i);
        NEROFS_TRY(p.blob, serve::blob_view::open(i, {std::move(blobs[i].data), std::move(blobs[i].map)},
                                                  blobs[i].touched, blobs[i].size));
        made->parts_.push_back(std::move(p));
    }
    made->fetcher_ = os::channel(made->image_.connect_server());
    return made;
}

remote_reader::~remote_reader() {
    image_.close();
}

status remote_reader::expect_all() {
    expects_all_ = true;
    return image_.fetch_all();
}

status remote_reader::read_exact(std::uint64_t offset, std::span<std::byte> into) {
    if (!range_within<std::uint64_t>(offset, into.size(), bytes()))
        return fail(error_kind::corrupt, "ends before what is wanted of it");
    NEROFS_TRY(const bool replaced, look_after_fetcher());
    (void)replaced;
    for (auto p = parts_.begin(); p != parts_.end() && !into.empty(); ++p) {
        const std::uint64_t next = p + 1 == parts_.end() ? bytes() : (p + 1)->begin;
        if (offset >= next) continue;
        auto here = into.first(std::min<std::uint64_t>(into.size(), next - offset));
        into = into.subspan(here.size());
        const std::uint64_t at = offset - p->begin;
        offset += here.size();
        const std::uint64_t stored = p->blob.map().blob_bytes();
        const std::size_t count = at < stored ? std::min<std::uint64_t>(here.size(), stored - at) : 0;
        NEROFS_CHECK(read_part(*p, at, here.first(count)));
        std::fill(here.begin() + static_cast<std::ptrdiff_t>(count), here.end(), std::byte{0});
    }
    return {};
}

status remote_reader::read_part(const part& from, std::uint64_t offset, std::span<std::byte> into) {
    if (into.empty()) return {};
    if (from.blob.lookup(offset, into.size()) != cache::presence::there)
        NEROFS_CHECK(wait_for(from, offset, into.size()));
    NEROFS_CHECK(os::pread_exact(from.blob.data(), into, offset));
    from.blob.touch(offset, into.size());
    return {};
}

status remote_reader::wait_for(const part& from, std::uint64_t offset, std::uint64_t length) {
    const auto until = clock::now() + image_.patience();
    const cache::missing_piece wanted{++last_id_, from.blob.id(), offset, length};
    bool asked = static_cast<bool>(ask(wanted));
    for (;;) {
        const std::uint32_t seen = from.blob.map().generation();
        const cache::presence now_there = from.blob.lookup(offset, length);
        if (now_there == cache::presence::there) return {};
        if (now_there == cache::presence::failed)
            return fail(error_kind::corrupt, "the source's bytes aren't those its digest names", EIO);
        if (is_hopeless(wanted.id) || clock::now() >= until) {
            const std::string why = image_.statistics().last_failure;
            return fail(error_kind::timeout, why.empty() ? "the source doesn't answer" : why, ETIMEDOUT);
        }
        NEROFS_TRY(const bool replaced, look_after_fetcher());
        if (replaced || !asked) asked = static_cast<bool>(ask(wanted));
        (void)from.blob.map().wait_change(seen, std::min(until, clock::now() + look_every));
    }
}

status remote_reader::ask(const cache::missing_piece& piece) const {
    if (!fetcher_) return fail(error_kind::retryable, "there is no fetcher just now");
    return cache::send_missing(fetcher_, std::span(&piece, 1));
}

// Whether the fetcher has said that it can't bring what was asked for.
bool remote_reader::is_hopeless(std::uint64_t id) const {
    while (fetcher_) {
        const auto packet = fetcher_.receive_now();
        if (!packet) return false;
        const auto failed = cache::decode_read_failed(*packet);
        if (failed && *failed == id) return true;
    }
    return false;
}

result<bool> remote_reader::look_after_fetcher() {
    if (clock::now() < look_again_) return false;
    NEROFS_TRY(const bool replaced, image_.look_after());
    look_again_ = clock::now() + look_every;
    if (!replaced) return false;
    fetcher_ = os::channel(image_.connect_server());
    if (expects_all_) NEROFS_CHECK(image_.fetch_all());
    return true;
}

}  // namespace nerofs::commands
