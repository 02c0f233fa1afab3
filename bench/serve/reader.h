// An NBD client that only asks and counts: random reads of one length, a fixed number in flight on one socket. It does
// as little as it can, so that what is measured is the server.
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"
#include "nbd/protocol.h"

namespace nerofs::bench {

// How the client talks to the socket.
enum class manner : std::uint8_t {
    batched,  // all new requests by one send, whatever replies are there by one recv
    kernel,   // as Linux's driver: a send for each request, a recv for each header and each 4 KiB of data
};

struct load {
    std::uint64_t device_bytes = 0;
    std::uint32_t length = 4096;  // of each read; offsets are multiples of it
    std::uint32_t depth = 32;     // requests in flight
    manner how = manner::batched;
};

class reader {
  public:
    using clock = std::chrono::steady_clock;

    // The socket speaks the transmission phase already. With `expected`, the device's bytes, each reply is compared.
    reader(fd_ref socket, const load& what, std::uint64_t seed, std::span<const std::byte> expected = {});

    // Asks until then, and waits for what is in flight. Returns the number of replies. Blocks. Kind corrupt: a wrong
    // reply; else that of recv(2) or send(2).
    result<std::uint64_t> run(clock::time_point until);

  private:
    void ask(std::uint32_t slot);
    status send_questions();
    status receive_some();
    status receive_exactly(std::span<std::byte> into);
    status receive_reply();
    status absorb(std::span<const std::byte> bytes);
    status begin_reply();
    status check(std::span<const std::byte> data);

    fd_ref socket_;
    load load_;
    std::uint64_t random_;
    std::span<const std::byte> expected_;
    std::vector<std::uint64_t> offsets_;  // of what each slot asks
    std::vector<bool> in_flight_;
    std::uint32_t asked_ = 0;              // slots in flight
    std::vector<nbd::request> questions_;  // not sent yet
    std::vector<std::byte> buffer_;
    nbd::simple_reply header_;
    std::size_t header_have_ = 0;      // bytes of header_
    std::uint32_t slot_ = 0;           // whose data is coming
    std::uint32_t data_left_ = 0;      // bytes of it that are still to come
    std::vector<std::uint32_t> done_;  // slots that were answered since the last questions
};

}  // namespace nerofs::bench
