// The bytes of an image that is fetched, for a reader in this process: no server, no device.
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "cache/presence/miss_messages.h"
#include "commands/remote_request.h"
#include "erofs/byte_reader.h"
#include "mount/remote_image.h"
#include "os/channel.h"
#include "serve/blob_view.h"

namespace nerofs::commands {

// The parts of the image side by side, as its device has them. Reading waits for bytes that aren't there, for as long
// as the image has patience; a fetcher that dies is replaced meanwhile. One thread. Errors: timeout, and what the
// source said last; corrupt for bytes that aren't those of the image's digest.
class remote_reader final : public erofs::byte_reader {
  public:
    // Takes the opened image over, and closes it at its own end.
    static result<std::unique_ptr<remote_reader>> make(mount::remote_image image);
    ~remote_reader() override;

    struct range {
        std::uint64_t offset = 0;
        std::uint64_t length = 0;
    };

    std::uint64_t bytes() const { return image_.info().size_bytes; }
    // All of these will be read, in whatever order: they are fetched ahead of it in the order of their places, some MiB
    // at a time. Once; what lies outside the image is left out.
    void expect(std::vector<range> ranges);

    status read_exact(std::uint64_t offset, std::span<std::byte> into) override;

  private:
    using clock = std::chrono::steady_clock;
    struct part {
        std::uint64_t begin = 0;  // in the device
        serve::blob_view blob;
    };
    struct expected_piece {
        cache::missing_piece piece;
        clock::time_point until;  // once it was asked for
    };
    explicit remote_reader(mount::remote_image image) : image_(std::move(image)) {}
    template <class Visit>
    status for_each_part(std::uint64_t offset, std::uint64_t length, Visit&& visit) const;
    status read_part(const part& from, std::uint64_t offset, std::span<std::byte> into);
    status wait_for(const part& from, std::uint64_t offset, std::uint64_t length);
    status ask(const cache::missing_piece& piece) const;
    bool is_hopeless(std::uint64_t id) const;
    result<bool> look_after_fetcher();
    void ask_ahead();

    mount::remote_image image_;
    std::vector<part> parts_;
    os::channel fetcher_;
    std::uint64_t last_id_ = 0;
    clock::time_point look_again_{};
    std::deque<expected_piece> expected_;   // not asked for yet
    std::deque<expected_piece> asked_;      // and not there yet, nor given up
    std::uint64_t ahead_bytes_ = 8u << 20;  // what may be asked for at once
};

// What is wished for, opened by this process itself. `note`: gets remote_image::note(). Errors:
// remote_image::open()'s.
result<std::unique_ptr<remote_reader>> open_to_read(remote_wish wish, std::string* note = nullptr);

}  // namespace nerofs::commands
