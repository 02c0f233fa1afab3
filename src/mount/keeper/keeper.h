// The keeper of one mount: owns the device, its record and its processes. Control only: no data, no hostile bytes.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "base/result.h"
#include "ctl/messages.h"
#include "mount/children.h"
#include "mount/keeper/fuse_device.h"
#include "mount/keeper/nbd_device.h"
#include "mount/record.h"
#include "mount/remote_image.h"
#include "os/event_loop.h"
#include "os/shared_memory.h"

namespace nerofs::mount {

class keeper {
  public:
    keeper(os::channel front, run_directory directory, os::event_loop loop)
        : front_(std::move(front)), directory_(std::move(directory)), loop_(std::move(loop)) {}

    // Does what the front asks for first (attach or reattach), tells it how that went, and keeps the mount until its
    // end. Returns when there is nothing left to keep.
    void run();

  private:
    // keeper_attach.cpp. Each throws its work away again if a later step fails (undo).
    status attach(const ctl::attach_request& request, unique_fd image);
    status reattach(const ctl::reattach_request& request);
    status adopt_server(os::channel server, const fetch::remote_secrets& secrets);
    status serve_again(const fetch::remote_secrets& secrets);
    status open_local(unique_fd image);
    status open_remote(const fetch::remote_secrets& secrets, const std::optional<fetch::remote_identity>& known);
    remote_image::request remote_request(const fetch::remote_secrets& secrets) const;
    void take_facts(const fetch::image_info& info);
    status make_journal();
    result<std::vector<unique_fd>> make_sockets();
    status attach_by_nbd(const ctl::attach_request& request);
    status attach_by_fuse();
    status connect_device(const ctl::nbd_settings& wanted, const std::vector<unique_fd>& kernel_ends);
    status watch_everything();
    void prove_connections();
    void check_progress_of_proof();
    void announce();
    struct connection;
    status watch_hangup(const connection& c);
    void undo();
    void end_serving();

    void on_front();
    void on_mounted(const std::string& target, fd_ref root);
    void front_left();
    void on_server_message();
    void on_server_death();
    void start_server_again();
    std::uint64_t replies() const;  // bytes of answers so far
    status watch_fetcher();
    void on_fetcher_death();
    void start_fetcher_again();
    void look_after_fetcher();
    void on_connection_ended(std::uint32_t index, serve::connection_end how);
    void replace_connection(std::uint32_t index);
    void check_server_lives();
    void look_after_server();
    bool by_fuse() const { return record_.transport == "fuse"; }
    void on_control();
    void answer(os::channel caller);
    void watch_root(const std::string& path);
    void on_unmounted();
    void enable_autoclear();
    void ask_device(std::function<void()> question, std::function<void()> then);
    void find_out_whether_mounted(std::function<void(bool)> then);
    void watch_mount_of_device();
    ctl::mount_status status_now();
    result<serve::server_setup> setup_now();
    // The device is gone or going: ends the server, removes the record, leaves run().
    void finish(const std::string& why);

    os::channel front_;
    run_directory directory_;
    os::event_loop loop_;

    record record_;
    std::string note_;       // for the user
    std::string needs_;      // what the image needs of the kernel
    bool attaching_ = true;  // false: the device was there before, and stays if we fail
    bool mounted_ = false;
    bool ending_ = false;

    unique_fd control_;  // the listening control socket
    std::vector<unique_fd> files_;
    std::vector<serve::server_setup::piece> pieces_;
    unique_fd journal_fd_;
    os::mapping journal_memory_;

    struct connection {
        unique_fd socket;  // our end, or /dev/fuse; the server has a duplicate
        std::optional<serve::connection_end> ended;
        std::chrono::milliseconds delay{0};  // before the next replacement
        unsigned unread = 0;                 // looks in a row that found a reply the kernel hasn't read
        bool kicked = false;
    };
    std::vector<connection> connections_;

    remote_image remote_;  // or none

    child server_;
    bool server_ready_ = false;
    std::chrono::steady_clock::time_point server_started_;
    std::chrono::milliseconds restart_delay_{0};
    unsigned fruitless_deaths_ = 0;
    std::uint64_t replies_at_start_ = 0;
    std::uint64_t restarts_ = 0;
    std::optional<os::event_loop::timer_id> ping_timer_;

    // Of ask_device.
    std::thread probe_;
    unique_fd probe_event_;
    std::atomic<bool> probe_found_mount_{false};
    std::optional<os::event_loop::timer_id> proof_timer_;

    unique_fd unmount_watch_;  // inotify: the file system on the device was unmounted
    std::unique_ptr<attached_device> device_;
    unique_fd fuse_mount_;               // for the front
    std::vector<os::channel> settling_;  // callers who wait for the end of a FUSE file system
};

}  // namespace nerofs::mount
