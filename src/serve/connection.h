// The request loop of one NBD socket: receives requests, answers them from the image map, keeps the journal.
#pragma once

#include <sys/uio.h>

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "base/unique_fd.h"
#include "nbd/request.h"
#include "serve/image_map.h"
#include "serve/journal.h"
#include "serve/misses.h"

namespace nerofs::serve {

enum class connection_end : std::uint8_t {
    disconnect,  // the client said goodbye: a clean end
    closed,      // the stream ended without a goodbye
    violation,   // what came was no NBD request
    cut,         // a reply couldn't be completed; the stream was shut down before a wrong byte
};

struct connection_options {
    std::uint32_t max_length = nbd::max_request_bytes;
    // Replies of at least this many bytes go from the file to the socket without passing through this process. Below, a
    // copy is cheaper than the second system call (bench/serve).
    std::uint32_t file_send_bytes = 64 * 1024;
};

class connection {
  public:
    // The socket, the map and the journal must outlive the connection. `j` may hold what an earlier process left.
    // Without a waiter, bytes that aren't there are an error (EIO).
    connection(fd_ref socket, const image_map& map, const journal& j, std::size_t index, connection_options options,
               std::optional<waiter> waiting = {});

    // Completes what the journal holds, then serves until the end. Blocks; another thread ends it by shutting the
    // socket down. Afterwards the socket has been shut down.
    connection_end run();

  private:
    // How the bytes of an answer can be had.
    enum class prepared : std::uint8_t { in_hand, by_file, unreadable, no_room };

    // Each returns false when the connection is at its end, with end_ set.
    bool step();
    bool receive();
    bool absorb(std::size_t received_bytes);
    bool decide(const nbd::request& header, std::uint32_t& payload_bytes);
    void clear_intake(std::size_t bytes);
    void take(const nbd::request& header, nbd::error_value error);
    bool discard(std::uint64_t bytes);
    bool recover();
    bool plausible(const request_slot& slot) const;
    bool resume_batch();
    void set_aside_missing();
    void take_back_settled();
    bool answer_pending();
    prepared prepare(std::uint32_t position, std::size_t& scratch_used);
    bool send_batch(std::uint32_t count);
    void finish_batch(std::uint32_t count);
    bool send_message(std::uint64_t skip, int flags);
    bool send_file(std::uint64_t offset, std::uint64_t length);
    bool copy_rest(fd_ref file, std::uint64_t offset, std::uint64_t length);
    bool cut();
    // Bytes of the batch that have been sent, and the bookkeeping around each call that sends.
    std::uint64_t progress() const;
    void begin_call(send_call call);
    void complete_call(std::uint64_t bytes);

    fd_ref socket_;
    const image_map& map_;
    const journal& journal_;
    connection_journal& j_;
    connection_options options_;
    nbd::export_limits limits_;
    connection_end end_ = connection_end::closed;
    std::vector<std::uint16_t> pending_;      // slots to be answered, in the order of arrival
    std::optional<waiter> waiting_;           // slots whose bytes have to come first
    std::vector<std::uint16_t> free_;         // empty slots
    std::vector<iovec> vectors_;              // the message being sent
    std::vector<nbd::simple_reply> headers_;  // of the batch
    std::vector<std::span<std::byte>> data_;  // of the batch, in scratch_; empty: none, or by file
    std::vector<std::byte> scratch_;
    std::size_t intake_bytes_ = 0;  // received but not absorbed (a header in pieces; not from the kernel)
    bool goodbye_ = false;
};

}  // namespace nerofs::serve
