#include "fetch/prefetch.h"

#include <sys/prctl.h>

#include <algorithm>
#include <utility>

#include "base/log.h"
#include "erofs/reader.h"

namespace nerofs::fetch {
namespace {

using namespace std::chrono_literals;

constexpr auto look_every = 100ms;              // whether it should stop
constexpr std::uint64_t most_names = 4u << 20;  // an image with more is fetched as it is read
constexpr std::uint64_t inode_bytes = 64;

// Ranges of the blob that are wanted together.
class wish_list {
  public:
    void add(std::uint64_t offset, std::uint64_t length) {
        if (!ranges_.empty() && ranges_.back().first <= offset && offset <= ranges_.back().second)
            ranges_.back().second = std::max(ranges_.back().second, offset + length);
        else
            ranges_.emplace_back(offset, offset + length);
    }

    // Asks for all of them and waits. False when it was told to stop.
    bool fetch(blob_fetcher& blob, const std::atomic<bool>& stopping) {
        std::sort(ranges_.begin(), ranges_.end());
        const std::uint64_t small_gap = blob.cheap_gap();
        std::vector<std::pair<std::uint64_t, std::uint64_t>> merged;
        for (const auto& [first, end] : ranges_) {
            if (blob.map().lookup(first, end - first) != cache::presence::missing) continue;
            if (!merged.empty() && first <= merged.back().second + small_gap)
                merged.back().second = std::max(merged.back().second, end);
            else
                merged.emplace_back(first, end);
        }
        for (const auto& [first, end] : merged) blob.want_soon(first, end - first);
        for (const auto& [first, end] : merged) {
            while (!blob.wait_for(first, end - first, blob_fetcher::clock::now() + look_every)) {
                if (stopping) return false;
                blob.tick();
            }
        }
        ranges_.clear();
        return !stopping;
    }

  private:
    std::vector<std::pair<std::uint64_t, std::uint64_t>> ranges_;
};

}  // namespace

metadata_prefetch::metadata_prefetch(blob_fetcher& blob, std::uint64_t begin) : blob_(blob), begin_(begin) {
    thread_ = std::thread([this] {
        ::prctl(PR_SET_NAME, "prefetch");
        if (const status done = walk(); !done && !stopping_)
            log::info("the image's metadata is fetched as it is read: " + done.error().message());
        finished_ = true;
    });
}

metadata_prefetch::~metadata_prefetch() {
    stopping_ = true;
    thread_.join();
}

status metadata_prefetch::walk() {
    blob_image bytes(blob_, begin_);
    NEROFS_TRY(erofs::reader image, erofs::reader::open(bytes, blob_.map().blob_bytes() - begin_));
    const std::uint64_t end = blob_.map().blob_bytes() - begin_;
    NEROFS_TRY(const erofs::inode root, image.root());
    std::vector<std::uint64_t> level{root.nid};
    std::uint64_t names = 0;
    while (!level.empty()) {
        wish_list wishes;
        for (const std::uint64_t nid : level) {
            NEROFS_TRY(const std::uint64_t at, erofs::inode_address(image.super(), nid));
            if (at < end) wishes.add(begin_ + at, std::min(inode_bytes, end - at));
        }
        if (!wishes.fetch(blob_, stopping_)) return {};

        std::vector<erofs::inode> directories;
        for (const std::uint64_t nid : level) {
            NEROFS_TRY(erofs::inode found, image.read_inode(nid));
            if (found.type != erofs::file_type::directory) continue;
            for (std::uint64_t offset = 0; offset < found.size;) {
                NEROFS_TRY(const erofs::extent e, image.map(found, offset));
                if (e.from == erofs::extent::source::device && e.device == 0 && e.address < end)
                    wishes.add(begin_ + e.address, std::min(e.length, end - e.address));
                offset += e.length;
            }
            directories.push_back(std::move(found));
        }
        if (!wishes.fetch(blob_, stopping_)) return {};

        level.clear();
        for (const erofs::inode& directory : directories) {
            NEROFS_CHECK(image.list(directory, [&](const erofs::directory_entry& entry) {
                level.push_back(entry.nid);
                return ++names <= most_names && !stopping_;
            }));
            if (names > most_names || stopping_) return {};
        }
        std::sort(level.begin(), level.end());
        level.erase(std::unique(level.begin(), level.end()), level.end());
    }
    return {};
}

}  // namespace nerofs::fetch
