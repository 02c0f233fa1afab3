// The bytes of an image that is fetched, for a reader in this process: no server, no device.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/result.h"
#include "cache/presence/miss_messages.h"
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

    std::uint64_t bytes() const { return image_.info().size_bytes; }
    // All of it will be read: it is fetched with what reads leave of the link.
    status expect_all();

    status read_exact(std::uint64_t offset, std::span<std::byte> into) override;

  private:
    struct part {
        std::uint64_t begin = 0;  // in the device
        serve::blob_view blob;
    };
    explicit remote_reader(mount::remote_image image) : image_(std::move(image)) {}
    status read_part(const part& from, std::uint64_t offset, std::span<std::byte> into);
    status wait_for(const part& from, std::uint64_t offset, std::uint64_t length);
    status ask(const cache::missing_piece& piece) const;
    bool is_hopeless(std::uint64_t id) const;
    result<bool> look_after_fetcher();

    mount::remote_image image_;
    std::vector<part> parts_;
    os::channel fetcher_;
    std::uint64_t last_id_ = 0;
    std::chrono::steady_clock::time_point look_again_{};
    bool expects_all_ = false;
};

}  // namespace nerofs::commands
