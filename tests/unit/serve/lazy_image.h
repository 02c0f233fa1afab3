// An image of which a part comes when the test says so.
#pragma once

#include <memory>

#include "os/shared_memory.h"
#include "serve/misses.h"
#include "support.h"

namespace nerofs::serve {

inline constexpr std::uint64_t chunk = cache::chunk_bytes;
inline constexpr std::uint64_t blob_size = 64 * chunk;

// A blob of which nothing is there, on a device between two pieces of a file; and who plays the fetcher.
class lazy_image {
  public:
    explicit lazy_image(std::chrono::milliseconds patience = std::chrono::seconds(30))
        : data_(memory_file({})),
          map_file_(os::make_memfd("map", cache::live_map_bytes(blob_size)).value()),
          touched_file_(cache::touch_map::make(blob_size).value()),
          whole_(memory_file(content(0, 3 * blob_size))) {
        EXPECT_EQ(::ftruncate(data_.get(), blob_size), 0);
        writable_ = cache::live_map::map(map_file_, blob_size, true).value();
        writable_.format({}, {}, {}, {}, false);
        touched_ = cache::touch_map::map(touched_file_, blob_size, false).value();
        view_ = blob_view::open(7, {duplicate(data_), duplicate(map_file_)}, touched_file_, blob_size).value();
        // The blob's byte at x is the image's at blob_size + x.
        map_ = image_map::make({{0, blob_size, whole_, 0, nullptr},
                                {blob_size, blob_size, view_.data(), 0, &view_},
                                {2 * blob_size, blob_size, whole_, 2 * blob_size, nullptr}})
                   .value();
        desk_.emplace(std::vector<const blob_view*>{&view_}, patience);
        EXPECT_TRUE(desk_->start());
        new_fetcher();
    }

    const image_map& map() const { return map_; }
    miss_desk& desk() { return *desk_; }
    const cache::touch_map& touched() const { return touched_; }
    cache::touch_map& touched() { return touched_; }
    const cache::live_map& presence() const { return writable_; }

    void new_fetcher() {
        auto ends = os::channel::make_pair().value();
        fetcher_ = std::move(ends.first);
        desk_->set_fetcher(std::move(ends.second));
    }
    // What the fetcher is told next.
    std::vector<cache::missing_piece> told() const {
        auto packet = fetcher_.receive(os::in_time(std::chrono::seconds(30)));
        if (!packet) return {};
        auto pieces = cache::decode_missing(*packet);
        return pieces ? *pieces : std::vector<cache::missing_piece>();
    }
    bool is_told_nothing() const { return !fetcher_.receive_now(); }
    void say_failed(std::uint64_t id) {
        EXPECT_TRUE(cache::send_read_failed(fetcher_, id));
        EXPECT_TRUE(os::wait_readable(desk_->fetcher(), os::in_time(std::chrono::seconds(30))));
        EXPECT_TRUE(desk_->on_fetcher());
    }
    // Chunks come: data first, then the bits.
    void fill(cache::chunk_range range) const {
        const bytes b = content(blob_size + range.first * chunk, range.count() * chunk);
        EXPECT_EQ(::pwrite(data_.get(), b.data(), b.size(), static_cast<off_t>(range.first * chunk)),
                  static_cast<ssize_t>(b.size()));
        writable_.set_present(range);
        writable_.announce();
    }
    waiter make_waiter() { return waiter::make(*desk_, map_).value(); }

  private:
    unique_fd data_;
    unique_fd map_file_;
    unique_fd touched_file_;
    unique_fd whole_;
    cache::live_map writable_;
    cache::touch_map touched_;
    blob_view view_;
    image_map map_;
    std::optional<miss_desk> desk_;
    os::channel fetcher_;
};

}  // namespace nerofs::serve
