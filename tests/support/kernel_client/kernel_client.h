// The Linux kernel's NBD driver, as a server sees it, inside a test process: the same bytes in the same order, the same
// timers, the same reaction to a wrong, doubled, cut or missing reply. What it models and what it leaves out: README.md
// beside it.
#pragma once

#include <array>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"
#include "nbd/protocol.h"

namespace nerofs::test {

struct kernel_client_options {
    // A request's timer; it starts with each send. The driver's TIMEOUT, which is 30 s when none is set.
    std::chrono::milliseconds timeout{30000};
    // How long a request waits for a live socket when there is none; 0: EIO at once. The driver's DEAD_CONN_TIMEOUT.
    std::chrono::milliseconds dead_conn_timeout{0};
    // How long disconnect() leaves the sockets open after DISC, at most until the server has closed them all. The
    // driver's is next to nothing; more lets outstanding replies in and catches a server that answers DISC.
    std::chrono::milliseconds disconnect_pause{0};
    // Called when a socket dies outside disconnect() (the driver's LINK_DEAD), with the index of the socket, by any
    // thread, with no lock held. It may call reconfigure(), and must not call read().
    std::function<void(unsigned)> link_dead = {};
};

// Something a correct server never does. Each kills its socket.
enum class violation_kind : std::uint8_t {
    wrong_magic,      // not a reply: the stream is out of step
    unknown_cookie,   // a cookie that was never sent
    duplicate_reply,  // a second reply, or one to a send that the timer had given up
    wrong_socket,     // a reply on another socket than the request's
    reply_to_disc,    // NBD_CMD_DISC has no reply
};
std::string_view to_string(violation_kind kind);

struct violation {
    violation_kind kind;
    unsigned socket;
    std::uint64_t cookie;  // as sent: counter << 32 | queue << 16 | slot; 0 for wrong_magic
    std::string text;      // one line for the failure message of a test
};

struct kernel_client_statistics {
    std::uint64_t reads = 0;          // ended, well or not
    std::uint64_t sent = 0;           // requests put on a socket, repeated ones included
    std::uint64_t eios = 0;           // reads that ended in EIO
    std::uint64_t error_replies = 0;  // ... because the server said so
    std::uint64_t timeouts = 0;       // timers that ran out
    std::uint64_t requeues = 0;       // requests sent again, for a timer or a failed send
    std::uint64_t cut_replies = 0;    // sockets that ended inside a reply: legal for a server that was killed
    std::uint64_t duplicates = 0;     // violations of kind duplicate_reply
    std::uint64_t deaths = 0;         // sockets that died outside disconnect()
    std::uint64_t reconfigured = 0;   // sockets replaced
    std::vector<std::chrono::nanoseconds> latencies = {};  // of the reads that succeeded, in the order of their ends
};

// Sockets are AF_UNIX streams that are in the transmission phase already. Any thread may call anything at any time,
// except that the object must outlive the calls; its destructor closes the sockets without saying DISC.
class kernel_client {
  public:
    static constexpr unsigned depth = 128;              // requests in flight per socket: the driver's queue_depth
    static constexpr std::size_t page_bytes = 4096;     // what one recv() of data asks for
    static constexpr std::size_t max_connections = 64;  // ours

    // `size`: bytes of the device. At least one socket.
    kernel_client(std::vector<unique_fd> sockets, std::uint64_t size, kernel_client_options options = {});
    ~kernel_client();
    kernel_client(const kernel_client&) = delete;
    kernel_client& operator=(const kernel_client&) = delete;

    // One NBD_CMD_READ. Blocks until a reply; as long as there is a socket to send it on again it has no end, as in the
    // driver. Errors: code EIO, whatever the cause; the text says which it was.
    result<std::vector<std::byte>> read(std::uint64_t offset, std::uint32_t length);

    // Puts the socket in the place of the first dead one and returns its index; nullopt, with the socket closed, if
    // none is dead (where the driver answers success).
    std::optional<unsigned> reconfigure(unique_fd socket);

    // DISC on each live socket, then both directions are shut down; reads under way end with EIO. Once.
    void disconnect();

    unsigned live_sockets() const;
    // Waits until so many sockets are alive (0: until all are dead); false if that isn't so within the time.
    bool wait_for_live_sockets(unsigned count, std::chrono::milliseconds at_most) const;
    kernel_client_statistics statistics() const;
    std::vector<violation> violations() const;

  private:
    struct connection;
    struct slot;
    using lock = std::unique_lock<std::mutex>;
    using clock = std::chrono::steady_clock;

    slot& take_slot(lock& held);
    void give_back(slot& used);
    result<void> run(lock& held, slot& request);
    std::optional<unsigned> wait_for_socket(lock& held, unsigned preferred);
    void send(lock& held, slot& request, unsigned index);
    void receive(unsigned index, std::uint64_t generation, std::shared_ptr<const unique_fd> socket);
    bool receive_reply(unsigned index, fd_ref socket);
    slot* match(unsigned index, std::uint64_t cookie);
    void record(violation_kind kind, unsigned index, std::uint64_t cookie);
    void kill_socket(lock& held, unsigned index, std::uint64_t generation);
    void start_worker(unsigned index);
    void shut_down(lock& held);

    const std::uint64_t size_;
    const kernel_client_options options_;
    mutable std::mutex mutex_;                         // guards everything below, slots and connections included
    mutable std::condition_variable sockets_changed_;  // one came, one died, or disconnect()
    std::condition_variable slot_free_;
    std::vector<std::unique_ptr<connection>> connections_;
    std::vector<std::unique_ptr<slot>> slots_;  // depth per connection: queue * depth + number
    unsigned next_queue_ = 0;
    unsigned live_ = 0;
    unsigned reading_ = 0;        // calls of read() under way
    bool disconnecting_ = false;  // nothing more is sent
    bool disconnected_ = false;   // nothing more is waited for
    kernel_client_statistics statistics_;
    std::vector<violation> violations_;
    std::vector<std::jthread> workers_;  // one per socket there ever was; they end with their socket
};

}  // namespace nerofs::test
