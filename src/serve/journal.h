// The journal of a connection: what a server has read from its socket and how far its answer has gone, kept in memory
// that outlives the process, so that the next server goes on at the very byte where a dead one stopped. docs/journal.md
// says why this is complete.
//
// Two tricks make it cheap and exact:
//  - request headers are received straight into the journal (`intake`), so nothing is ever consumed but not recorded;
//  - the kernel itself records how much was sent: sendmmsg(2) stores each message's byte count into its mmsghdr, and
//    sendfile(2) stores the new offset, both inside the same system call that sends - a kill can't come between. Both
//    words lie here.
//
// One process writes at a time. Stores to different words are ordered (release), because the next process sees them in
// the order in which they were made.
#pragma once

#include <sys/socket.h>
#include <sys/types.h>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

#include "nbd/protocol.h"

namespace nerofs::serve {

// The kernel keeps at most 128 requests in flight on a socket (the depth of its hardware queue).
inline constexpr std::size_t max_in_flight = 128;

enum class slot_state : std::uint32_t { empty = 0, received = 1 };

// A request whose answer isn't complete.
struct request_slot {
    std::atomic<slot_state> state;
    std::uint32_t length;
    std::uint64_t cookie;
    std::uint64_t offset;
    std::uint32_t error;  // an nbd::error_value decided for it, 0: to be answered with bytes
    std::uint32_t reserved;
};

// Which call is sending the rest of the batch; the two low bits of `batch_progress`.
enum class send_call : std::uint64_t { none = 0, message = 1, file = 2 };

struct connection_journal {
    // Headers as they were received. An entry whose magic isn't zero holds a header that may not be in a slot yet. On
    // one page, so that the kernel's copy of a header can't stop in its middle for want of the second one.
    alignas(4096) std::array<nbd::request, max_in_flight> intake;

    alignas(64) std::array<request_slot, max_in_flight> slots;

    // The answers being sent, in order: slots by index. 0: none is.
    alignas(64) std::atomic<std::uint32_t> batch_count;
    std::array<std::uint16_t, max_in_flight> batch_slots;
    // Bytes of the batch sent by completed calls, times four, plus the send_call under way. One word, so that
    // completing a call and counting its bytes is one store.
    std::atomic<std::uint64_t> batch_progress;
    // Written by the kernel: message.msg_len by sendmmsg, file_offset by sendfile.
    mmsghdr message;
    off_t file_start;
    off_t file_offset;
    // Not zero: the client has said that it will ask nothing more.
    std::atomic<std::uint32_t> goodbye;

    // Counters, never reset, for status. Single writer.
    alignas(64) std::atomic<std::uint64_t> requests;
    std::atomic<std::uint64_t> reply_bytes;
    std::atomic<std::uint64_t> errors;
    std::atomic<std::uint64_t> takeovers;  // answers that were begun or owed by an earlier process
};

// The shared memory of a mount: this header, then one connection_journal for each connection.
struct journal_header {
    std::uint64_t magic;
    std::uint64_t connections;
    // Set when zero-copy sending met a range that couldn't be read: large reads are copied from then on, so that the
    // next such failure can be answered with an error.
    std::atomic<std::uint32_t> copy_only;
};

inline constexpr std::uint64_t journal_magic = 0x316c6e72756f6a6e;  // "njournl1"

static_assert(std::atomic<std::uint64_t>::is_always_lock_free && std::atomic<std::uint32_t>::is_always_lock_free);

constexpr std::size_t journal_bytes(std::size_t connections) {
    return sizeof(connection_journal) + connections * sizeof(connection_journal);
}

// A view of mapped, zero-filled or earlier used journal memory of at least journal_bytes(connections) bytes.
class journal {
  public:
    journal() = default;
    // Formats fresh (zero) memory; leaves formatted memory as it is.
    journal(void* memory, std::size_t connections);

    journal_header& header() const { return *static_cast<journal_header*>(memory_); }
    connection_journal& connection(std::size_t index) const {
        return static_cast<connection_journal*>(memory_)[1 + index];
    }
    std::size_t connections() const { return connections_; }
    // Forgets what was in flight on a connection that nobody serves: its socket is replaced, the kernel asks again.
    void reset(std::size_t index) const;

  private:
    void* memory_ = nullptr;
    std::size_t connections_ = 0;
};

static_assert(sizeof(journal_header) <= sizeof(connection_journal));

}  // namespace nerofs::serve
