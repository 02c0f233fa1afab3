#include "commands/remote_reader.h"

#include <algorithm>
#include <cerrno>
#include <utility>

#include "base/checked.h"
#include "os/files.h"

namespace nerofs::commands {
namespace {

using namespace std::chrono_literals;

constexpr auto look_every = 100ms;  // at what no arrival tells: the fetcher's death, and that it has given up
// A link that brings what is asked for ahead between two looks is given more to do. One that is so slow that reads
// would have to wait for it for long keeps to what it began with.
constexpr std::uint64_t most_ahead_bytes = 64u << 20;
constexpr std::uint64_t most_piece_bytes = 4u << 20;

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

// Calls `visit(part, offset in it, bytes that are stored, bytes that fill it up)` for what the range has of each part.
template <class Visit>
status remote_reader::for_each_part(std::uint64_t offset, std::uint64_t length, Visit&& visit) const {
    if (!range_within(offset, length, bytes())) return fail(error_kind::corrupt, "ends before what is wanted of it");
    for (auto p = parts_.begin(); p != parts_.end() && length > 0; ++p) {
        const std::uint64_t end = p + 1 == parts_.end() ? bytes() : (p + 1)->begin;
        if (offset >= end) continue;
        const std::uint64_t at = offset - p->begin;
        const std::uint64_t here = std::min(length, end - offset);
        const std::uint64_t size = p->blob.map().blob_bytes();
        const std::uint64_t stored = at < size ? std::min(here, size - at) : 0;
        NEROFS_CHECK(visit(*p, at, stored, here - stored));
        offset += here;
        length -= here;
    }
    return {};
}

void remote_reader::expect(std::vector<range> ranges) {
    std::sort(ranges.begin(), ranges.end(), [](const range& a, const range& b) { return a.offset < b.offset; });
    const auto add = [this](const range& r) {
        (void)for_each_part(
            r.offset, r.length, [this](const part& p, std::uint64_t at, std::uint64_t left, auto) -> status {
                while (left > 0) {
                    const std::uint64_t count = std::min(left, most_piece_bytes - at % most_piece_bytes);
                    expected_.push_back({{++last_id_, p.blob.id(), at, count}, {}});
                    at += count;
                    left -= count;
                }
                return {};
            });
    };
    range run;
    for (const range& r : ranges) {
        if (run.length > 0 && r.offset <= run.offset + run.length + cache::chunk_bytes) {
            run.length = std::max(run.length, r.offset - run.offset + r.length);
            continue;
        }
        add(run);
        run = r;
    }
    add(run);
    ask_ahead();
}

void remote_reader::ask_ahead() {
    const auto is_waited_for = [&, now = clock::now()](const expected_piece& e) {
        const cache::missing_piece& p = e.piece;
        return now < e.until && parts_[p.blob].blob.lookup(p.offset, p.length) == cache::presence::missing;
    };
    std::erase_if(asked_, [&](const expected_piece& e) { return !is_waited_for(e); });
    std::uint64_t waited_for = 0;
    for (const expected_piece& e : asked_) waited_for += e.piece.length;
    if (waited_for < ahead_bytes_ / 2) ahead_bytes_ = std::min(2 * ahead_bytes_, most_ahead_bytes);

    std::vector<cache::missing_piece> pieces;
    while (!expected_.empty() && waited_for < ahead_bytes_ && pieces.size() < cache::most_missing_in_packet) {
        expected_piece e = expected_.front();
        expected_.pop_front();
        e.until = clock::now() + image_.patience();
        if (!is_waited_for(e)) continue;
        waited_for += e.piece.length;
        pieces.push_back(e.piece);
        asked_.push_back(e);
    }
    // What isn't heard is asked for when it is read.
    if (fetcher_ && !pieces.empty()) (void)cache::send_missing(fetcher_, pieces);
}

status remote_reader::read_exact(std::uint64_t offset, std::span<std::byte> into) {
    if (const auto looked = look_after_fetcher(); !looked) return fail(looked.error());
    return for_each_part(offset, into.size(),
                         [&](const part& p, std::uint64_t at, std::uint64_t stored, std::uint64_t gap) -> status {
                             NEROFS_CHECK(read_part(p, at, into.first(stored)));
                             const auto filled = into.subspan(stored, gap);
                             std::fill(filled.begin(), filled.end(), std::byte{0});
                             into = into.subspan(stored + gap);
                             return {};
                         });
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
    if (replaced) {
        fetcher_ = os::channel(image_.connect_server());
        expected_.insert(expected_.begin(), asked_.begin(), asked_.end());
        asked_.clear();
    }
    ask_ahead();
    return replaced;
}

result<std::unique_ptr<remote_reader>> open_to_read(remote_wish wish, std::string* note) {
    mount::remote_image::request request{std::move(wish.source), std::move(wish.secrets), std::move(wish.cache)};
    request.quiet = true;
    NEROFS_TRY(mount::remote_image image, open_by_itself(std::move(request)));
    if (note != nullptr) *note = image.note();
    return remote_reader::make(std::move(image));
}

}  // namespace nerofs::commands
