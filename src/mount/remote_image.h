// An image that is fetched: its fetcher, its blobs in the cache, and what a server needs of both.
#pragma once

#include <signal.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "base/result.h"
#include "cache/store.h"
#include "ctl/messages.h"
#include "fetch/protocol/messages.h"
#include "mount/children.h"
#include "serve/messages.h"

namespace nerofs::mount {

// Everything blocks, at most as long as it says; one thread.
class remote_image {
  public:
    struct request {
        fetch::remote_source source;
        fetch::remote_secrets secrets;  // kept in memory, for the next fetcher
        ctl::cache_choice cache;
        std::uint64_t fs_offset = 0;
        bool has_extra_devices = false;
        bool quiet = false;  // nobody wants to see what is logged; errors say enough
        // Told what open() waits for, in words; false: nobody waits for it any more.
        std::function<bool(const std::string&)> waits_for{};
        // Asked before layers are read as a whole to become an image; its error is open()'s.
        std::function<status()> before_reading{};
    };

    remote_image() = default;
    remote_image(remote_image&&) = default;
    remote_image& operator=(remote_image&&) = default;
    ~remote_image();

    // Finds the image, opens its cache, and checks it. Up to several times the source's timeout; layers that are seen
    // for the first time are read as a whole, for as long as they come. With `known` only these very bytes will do.
    static result<remote_image> open(request r, const std::optional<fetch::remote_identity>& known);
    // Goes on with the blobs that a server has kept; a fetcher is started. Its old one goes when nobody talks to it.
    static result<remote_image> adopt(request r, fetch::remote_identity identity,
                                      std::span<const serve::server_setup::blob> kept);

    explicit operator bool() const { return !identity_.parts.empty(); }
    const fetch::image_info& info() const { return info_; }  // nothing after adopt()
    const fetch::remote_identity& identity() const { return identity_; }
    const std::string& pushed() const { return pushed_; }  // the digest of the artifact that was pushed, or empty
    const std::string& note() const { return note_; }      // for the user, or empty
    std::chrono::milliseconds patience() const;            // of a server's reads
    pid_t fetcher_pid() const { return fetcher_.process.pid(); }
    std::uint64_t fetcher_restarts() const { return restarts_; }

    result<std::vector<serve::server_setup::blob>> blobs() const;
    // Where the bytes of a device of `bytes` lie, of which the image begins at the request's fs_offset of its blob.
    // What fills up its parts is a file that is added to `files`.
    result<std::vector<serve::server_setup::piece>> pieces(std::uint64_t bytes, std::vector<unique_fd>& files) const;
    // A channel between the fetcher and a server: the server's end. None when there is no fetcher just now.
    unique_fd connect_server();

    // For an event loop: readable when the fetcher has ended, or has said something.
    fd_ref fetcher_ended() const { return fetcher_.process.pidfd(); }
    fd_ref fetcher_messages() const { return fetcher_.channel.fd(); }
    bool on_fetcher_message();  // false: it has hung up
    // After its end. In words, how it ended; another one has to be started after the pause.
    std::string bury_fetcher(std::chrono::milliseconds& pause);
    status restart_fetcher();
    // To be called now and then: false when the fetcher hasn't answered the call before.
    bool fetcher_answers();
    void kill_fetcher() const { fetcher_.process.kill(SIGKILL); }
    // For whoever has no event loop, to be called now and then: a fetcher that has died is replaced, after a pause that
    // `interrupted` ends, and servers have to be connected again (true). Otherwise hears what it says, and keeps the
    // cache to its budget.
    result<bool> look_after(fd_ref interrupted = {});

    // Nothing but what is known of the cache when the fetcher doesn't answer at once.
    fetch::fetch_statistics statistics();
    status fetch_all() const;
    // Keeps the cache to its budget; cheap when nothing came.
    void keep_to_budget();

    // The mount is gone, and its server: ends the fetcher and makes durable what isn't.
    void close();

  private:
    // A part of the device, and the index that its bytes are found by.
    struct part_state {
        cache::held_blob held;
        unique_fd touched;
        unique_fd index;
    };
    // A layer that may have to be read as a whole.
    struct layer_state {
        fetch::stored_layer stored;
        fetch::layer_files files;
        cache::held_blob content;  // once it was: pinned until the image is open
    };

    status open_once(const std::optional<fetch::remote_identity>& known);
    bool is_here(const fetch::remote_identity& known);
    result<fetch::remote_identity> wait_for_identity(std::chrono::milliseconds patience);
    status tell(const std::string& what) const;
    cache::store* open_store();
    status open_given_files();
    status give_layer_files(const std::vector<fetch::stored_layer>& layers);
    status take_indexed(const fetch::indexed_layer& what);
    status open_cache();
    unique_fd index_of(const fetch::remote_part& part);
    result<cache::held_blob> open_part(fetch::remote_part& part, fd_ref whole);
    status start_fetcher(const std::optional<fetch::remote_identity>& known);
    status hand_over_cache(bool check);
    void free_room();
    std::uint64_t present_bytes() const;
    bool verified() const;

    request request_;
    fetch::remote_identity identity_;
    fetch::image_info info_;
    std::string note_;
    std::string pushed_;
    std::optional<cache::store> store_;  // none for private files
    bool store_failed_ = false;
    std::vector<part_state> parts_;
    std::vector<layer_state> layers_;  // while it is being opened
    unique_fd metadata_file_;          // ... too
    fetch::given_files given_;
    child fetcher_;
    std::chrono::steady_clock::time_point started_;
    std::chrono::milliseconds pause_{0};
    std::uint64_t restarts_ = 0;
    bool asked_ = false;                      // by fetcher_answers(), and no answer yet
    std::uint64_t present_at_start_ = 0;      // of the fetcher
    std::uint64_t present_at_last_look_ = 0;  // of keep_to_budget()
};

}  // namespace nerofs::mount
