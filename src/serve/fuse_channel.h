// The request loop of one /dev/fuse descriptor: reads requests, answers them from the image map, keeps the journal.
//
// Several channels serve one file system: the descriptors are clones of each other (FUSE_DEV_IOC_CLONE), each with a
// file description of its own. The driver hands a request to whichever reads first, and wants the answer there.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "base/unique_fd.h"
#include "serve/connection.h"
#include "serve/fuse_request.h"
#include "serve/image_map.h"
#include "serve/journal.h"
#include "serve/misses.h"

namespace nerofs::serve {

// Uses the connection's journal in its own way: the intake holds one request as it was read, the slots hold reads whose
// bytes are waited for. docs/journal.md says why that is complete.
class fuse_channel {
  public:
    // The device, the map and the journal must outlive the channel. `j` may hold what an earlier process left. Without
    // a waiter, bytes that aren't there are an error (EIO).
    fuse_channel(fd_ref device, const image_map& map, const journal& j, std::size_t index,
                 std::optional<waiter> waiting = {});

    // Answers what the journal holds, then serves until the file system is gone: `disconnect`. Blocks, and nothing but
    // that ends it: a process that has enough of it exits. `cut`: the journal is damaged, and this kernel can't hand
    // requests out again; some of them will never be answered, so the file system should be given up. `violation`,
    // `closed`: what is read there is no FUSE.
    connection_end run();

  private:
    // Each returns false when the channel is at its end, with end_ set.
    bool step();
    bool receive();
    bool handle_intake();
    bool recover();
    bool start_afresh();

    void set_aside(const fuse::verdict& read);
    void answer_slot(std::uint16_t index);
    void answer_read(std::uint64_t unique, std::uint64_t offset, std::uint32_t length, bool given_up);
    void reply(std::uint64_t unique, std::int32_t error, std::uint32_t body_bytes);
    void clear_intake();
    void let_reads_block(bool block);
    std::span<std::byte> intake() const;
    std::byte* body() const { return page_; }

    fd_ref device_;
    const image_map& map_;
    const journal& journal_;
    std::size_t index_;
    connection_journal& j_;
    connection_end end_ = connection_end::closed;
    std::optional<waiter> waiting_;       // slots whose bytes have to come first
    std::vector<std::uint16_t> free_;     // empty slots
    std::vector<std::uint16_t> settled_;  // slots that needn't wait any longer
    std::vector<std::byte> rest_;         // of a request that is longer than any that matters
    std::vector<std::byte> buffer_;       // the answer
    std::byte* page_ = nullptr;           // its data, at the beginning of a page; the header lies just before
    std::optional<bool> reads_block_;
    bool gave_nothing_ = false;  // the last receive() found no request
};

}  // namespace nerofs::serve
