#include "serve/connection.h"

#include <poll.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>

#include "base/checked.h"
#include "base/fault.h"

namespace nerofs::serve {
namespace {

constexpr std::size_t header_bytes = sizeof(nbd::request);
// Enough for 64 replies of 4 KiB in one system call.
constexpr std::size_t scratch_bytes = 256 * 1024;

void add(std::atomic<std::uint64_t>& counter, std::uint64_t n) {
    counter.store(counter.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);  // single writer
}

// Marks an intake entry as empty, after everything stored before.
void clear_entry(nbd::request& entry) {
    static_assert(header_bytes % alignof(std::uint32_t) == 0);  // so every magic of the aligned array is aligned
    void* const magic = &entry.magic;
    __atomic_store_n(std::assume_aligned<alignof(std::uint32_t)>(static_cast<std::uint32_t*>(magic)), 0u,
                     __ATOMIC_RELEASE);
}

// Plain stores behind this stay behind the stores before it: a release store alone lets them be moved in front of it,
// and the process may be killed between any two instructions.
void keep_order() {
    std::atomic_signal_fence(std::memory_order_seq_cst);
}

}  // namespace

connection::connection(fd_ref socket, const image_map& map, const journal& j, std::size_t index,
                       connection_options options, std::optional<waiter> waiting)
    : socket_(socket),
      map_(map),
      journal_(j),
      j_(j.connection(index)),
      options_(options),
      limits_{map.size(), options.max_length, options.max_length},
      waiting_(std::move(waiting)),
      scratch_(scratch_bytes) {
    pending_.reserve(max_in_flight);
    free_.reserve(max_in_flight);
    vectors_.reserve(2 * max_in_flight);
    headers_.resize(max_in_flight);
    data_.resize(max_in_flight);
}

connection_end connection::run() {
    if (recover()) {
        while (step()) {
        }
    }
    if (goodbye_) end_ = connection_end::disconnect;
    ::shutdown(socket_.get(), SHUT_RDWR);
    return end_;
}

// Answers what can be answered, then waits for more: requests, or bytes that are missing.
bool connection::step() {
    set_aside_missing();
    if (!answer_pending() || goodbye_) return false;
    if (!waiting_ || waiting_->empty()) return receive();
    take_back_settled();
    if (!pending_.empty()) return true;
    // With all slots in use nothing can be received, but the end of the socket is the end of the waiting.
    return !waiting_->wait(socket_, free_.empty() ? POLLRDHUP : POLLIN) || receive();
}

void connection::set_aside_missing() {
    if (!waiting_) return;
    std::erase_if(pending_, [this](std::uint16_t index) {
        const request_slot& slot = j_.slots[index];
        if (slot.error != 0 || map_.lookup(slot.offset, slot.length) != cache::presence::missing) return false;
        waiting_->add(index, slot.offset, slot.length);
        return true;
    });
}

void connection::take_back_settled() {
    waiting_->settle([this](const waiter::read& read, waiter::outcome how) {
        const auto index = static_cast<std::uint16_t>(read.tag);
        if (how == waiter::outcome::failed) j_.slots[index].error = static_cast<std::uint32_t>(nbd::error_value::eio);
        pending_.push_back(index);
    });
}

// ---- receiving ----

bool connection::receive() {
    auto* const intake = reinterpret_cast<std::byte*>(j_.intake.data());
    const std::size_t room = free_.size() * header_bytes - intake_bytes_;
    ssize_t n;
    do n = ::recv(socket_.get(), intake + intake_bytes_, room, 0);
    while (n < 0 && errno == EINTR);
    if (n <= 0) return false;  // the end, or ECONNRESET, which is one
    fault::point("journal.intake");
    return absorb(static_cast<std::size_t>(n));
}

// Moves what lies in the intake to slots. The kernel sends each header whole; other clients may send it in pieces, the
// last of which is carried over.
bool connection::absorb(std::size_t received_bytes) {
    auto* const intake = reinterpret_cast<std::byte*>(j_.intake.data());
    const std::size_t total = intake_bytes_ + received_bytes;
    std::size_t at = 0;
    while (!goodbye_ && total - at >= header_bytes) {
        nbd::request header;
        std::memcpy(&header, intake + at, header_bytes);
        at += header_bytes;
        std::uint32_t payload_bytes = 0;
        if (!decide(header, payload_bytes)) return false;
        const std::size_t here = std::min<std::size_t>(payload_bytes, total - at);
        at += here;
        if (!discard(payload_bytes - here)) return false;
    }
    fault::point("journal.received");
    std::array<std::byte, header_bytes> piece;
    intake_bytes_ = goodbye_ ? 0 : total - at;
    std::memcpy(piece.data(), intake + at, intake_bytes_);
    clear_intake(total);
    std::memcpy(intake, piece.data(), intake_bytes_);
    return true;
}

// Puts a request into a slot, with what will be answered. False if it ends the connection at once.
bool connection::decide(const nbd::request& header, std::uint32_t& payload_bytes) {
    const nbd::verdict verdict = nbd::classify(header, limits_);
    switch (verdict.what) {
        case nbd::action::drop:
            break;
        case nbd::action::disconnect:
            goodbye_ = true;
            j_.goodbye.store(1, std::memory_order_release);
            return true;
        case nbd::action::answer_read:
        case nbd::action::answer_error:
            if (free_.empty()) break;  // only a journal that a dying process damaged can hold that many
            payload_bytes = verdict.discard_bytes;
            take(header, verdict.error);
            return true;
    }
    end_ = connection_end::violation;
    return false;
}

// From the first on, so that what a process that dies meanwhile leaves behind begins with an empty entry.
void connection::clear_intake(std::size_t bytes) {
    for (std::size_t i = 0; i * header_bytes < bytes; ++i) clear_entry(j_.intake[i]);
}

void connection::take(const nbd::request& header, nbd::error_value error) {
    const std::uint16_t index = free_.back();
    free_.pop_back();
    request_slot& slot = j_.slots[index];
    slot.length = header.length;
    slot.cookie = header.cookie;
    slot.offset = header.offset;
    slot.error = static_cast<std::uint32_t>(error);
    slot.state.store(slot_state::received, std::memory_order_release);
    pending_.push_back(index);
    add(j_.requests, 1);
}

bool connection::discard(std::uint64_t bytes) {
    while (bytes > 0) {
        const ssize_t n = ::recv(socket_.get(), scratch_.data(), std::min<std::uint64_t>(bytes, scratch_.size()), 0);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return false;
        bytes -= static_cast<std::uint64_t>(n);
    }
    return true;
}

// ---- taking over ----

bool connection::recover() {
    if (j_.batch_count.load(std::memory_order_acquire) != 0 && !resume_batch()) return false;
    for (std::uint16_t i = 0; i < max_in_flight; ++i) {
        if (j_.slots[i].state.load(std::memory_order_acquire) == slot_state::empty) {
            free_.push_back(i);
        } else {
            if (!plausible(j_.slots[i])) return cut();
            pending_.push_back(i);
        }
    }
    goodbye_ = j_.goodbye.load(std::memory_order_acquire) != 0;
    // Headers that had been received; those that had reached a slot, too, are known by their cookie. They stay where
    // they are until all are in slots: this process may die of the same thing as the one before it.
    for (const nbd::request& entry : j_.intake) {
        if (entry.magic == 0u || goodbye_) break;
        const bool goodbye = entry.type == static_cast<std::uint16_t>(nbd::cmd::disc);
        const bool known = std::any_of(pending_.begin(), pending_.end(),
                                       [&](std::uint16_t i) { return j_.slots[i].cookie == entry.cookie; });
        if (known && !goodbye) continue;
        std::uint32_t payload_bytes = 0;
        if (!decide(entry, payload_bytes)) return false;
        // How much of a write's payload was skipped isn't recorded; the kernel doesn't write to a read-only device.
        if (payload_bytes != 0) return cut();
    }
    if (!pending_.empty()) fault::point("journal.received");
    clear_intake(sizeof j_.intake);
    add(j_.takeovers, pending_.size());
    return true;
}

// The process that wrote the journal may have died of damaging it.
bool connection::plausible(const request_slot& slot) const {
    return slot.error != 0 ||
           (slot.length <= limits_.max_length && range_within<std::uint64_t>(slot.offset, slot.length, map_.size()));
}

// Completes the answers that another process began: the kernel says how many bytes went out, the rest is the same bytes
// again, because an image doesn't change.
bool connection::resume_batch() {
    const std::uint32_t count = j_.batch_count.load(std::memory_order_acquire);
    if (count > max_in_flight) return cut();
    std::uint64_t data_bytes = 0;
    for (std::uint32_t i = 0; i < count; ++i) {
        if (j_.batch_slots[i] >= max_in_flight || !plausible(j_.slots[j_.batch_slots[i]])) return cut();
        if (j_.slots[j_.batch_slots[i]].error == 0) data_bytes += j_.slots[j_.batch_slots[i]].length;
    }
    add(j_.takeovers, count);
    const std::uint64_t total = count * sizeof(nbd::simple_reply) + data_bytes;
    const std::uint64_t sent = progress();
    if (sent > total) return cut();
    if (sent == total) {
        finish_batch(count);
        return true;
    }
    // What the dead process sent by file may have to be copied now, so there is room for all of it.
    if (data_bytes > scratch_bytes + limits_.max_length) return cut();
    scratch_.resize(std::max<std::size_t>(scratch_bytes, data_bytes));
    std::size_t scratch_used = 0;
    for (std::uint32_t i = 0; i < count; ++i) {
        if (prepare(i, scratch_used) == prepared::unreadable) {
            if (sent != 0) return cut();
            j_.batch_count.store(0, std::memory_order_release);  // nothing sent: decided again, with an error
            return true;
        }
    }
    return send_batch(count);
}

// ---- answering ----

bool connection::answer_pending() {
    std::size_t next = 0;
    while (next < pending_.size()) {
        std::size_t scratch_used = 0;
        std::uint32_t count = 0;
        keep_order();  // the batch before is off before the next is written over it
        while (next < pending_.size()) {
            j_.batch_slots[count] = pending_[next];
            const prepared how = prepare(count, scratch_used);
            if (how == prepared::no_room) break;
            if (how == prepared::unreadable) {
                j_.slots[pending_[next]].error = static_cast<std::uint32_t>(nbd::error_value::eio);
                data_[count] = {};
            }
            ++count;
            ++next;
            if (how == prepared::by_file) break;  // the last of its batch
        }
        j_.batch_progress.store(0, std::memory_order_release);
        j_.batch_count.store(count, std::memory_order_release);
        fault::point("journal.batch");
        if (!send_batch(count)) return false;
        free_.insert(free_.end(), j_.batch_slots.begin(), j_.batch_slots.begin() + count);
    }
    pending_.clear();
    return true;
}

// Gets the bytes of one answer of the batch in hand, or finds that they go by file.
connection::prepared connection::prepare(std::uint32_t position, std::size_t& scratch_used) {
    const request_slot& slot = j_.slots[j_.batch_slots[position]];
    data_[position] = {};
    if (slot.error != 0 || slot.length == 0) return prepared::in_hand;
    if (map_.lookup(slot.offset, slot.length) != cache::presence::there) return prepared::unreadable;
    const bool by_file =
        slot.length >= options_.file_send_bytes && journal_.header().copy_only.load(std::memory_order_relaxed) == 0;
    if (by_file) return prepared::by_file;
    if (scratch_used + slot.length > scratch_.size()) {
        if (position > 0) return prepared::no_room;
        scratch_.resize(slot.length);  // at most max_length; given back when the batch is sent
    }
    const std::span<std::byte> into(scratch_.data() + scratch_used, slot.length);
    if (!map_.read(slot.offset, into)) return prepared::unreadable;
    scratch_used += slot.length;
    data_[position] = into;
    return prepared::in_hand;
}

// Sends the batch from where its progress stands, then empties its slots.
bool connection::send_batch(std::uint32_t count) {
    vectors_.clear();
    std::uint64_t message_bytes = 0;
    const request_slot* by_file = nullptr;
    for (std::uint32_t i = 0; i < count; ++i) {
        const request_slot& slot = j_.slots[j_.batch_slots[i]];
        headers_[i] = nbd::make_simple_reply(slot.cookie, static_cast<nbd::error_value>(slot.error));
        vectors_.push_back({&headers_[i], sizeof headers_[i]});
        if (!data_[i].empty()) vectors_.push_back({data_[i].data(), data_[i].size()});
        message_bytes += sizeof headers_[i] + data_[i].size();
        if (slot.error == 0 && slot.length != 0 && data_[i].empty()) by_file = &slot;
    }
    const std::uint64_t done = progress();  // 0, unless another process sent some of it
    j_.batch_progress.store(done << 2, std::memory_order_release);
    if (done < message_bytes && !send_message(done, by_file ? MSG_MORE : 0)) return false;
    fault::point("send.between");
    if (by_file) {
        const std::uint64_t file_done = done > message_bytes ? done - message_bytes : 0;
        if (!send_file(by_file->offset + file_done, by_file->length - file_done)) return false;
    }
    finish_batch(count);
    if (scratch_.size() > scratch_bytes) {
        scratch_.resize(scratch_bytes);
        scratch_.shrink_to_fit();
    }
    return true;
}

// All of the batch is sent: its slots are free again.
void connection::finish_batch(std::uint32_t count) {
    fault::point("journal.sent");
    std::uint64_t bytes = count * sizeof(nbd::simple_reply);
    std::uint64_t errors = 0;
    for (std::uint32_t i = 0; i < count; ++i) {
        request_slot& slot = j_.slots[j_.batch_slots[i]];
        if (slot.error != 0) {
            ++errors;
        } else {
            bytes += slot.length;
            map_.touch(slot.offset, slot.length);
        }
        slot.state.store(slot_state::empty, std::memory_order_release);
    }
    j_.batch_count.store(0, std::memory_order_release);
    fault::point("journal.done");
    add(j_.reply_bytes, bytes);
    add(j_.errors, errors);
}

// Sends vectors_ but for their first `skip` bytes. MSG_MORE: more follows at once, which TCP may put into one segment.
bool connection::send_message(std::uint64_t skip, int flags) {
    auto first = vectors_.begin();
    for (;;) {
        while (first != vectors_.end() && skip >= first->iov_len) skip -= (first++)->iov_len;
        if (first == vectors_.end()) return true;
        first->iov_base = static_cast<std::byte*>(first->iov_base) + skip;
        first->iov_len -= skip;

        j_.message.msg_hdr = {};
        j_.message.msg_hdr.msg_iov = &*first;
        j_.message.msg_hdr.msg_iovlen = static_cast<std::size_t>(vectors_.end() - first);
#if NEROFS_FAULTS
        iovec cut_short{first->iov_base, fault::limit("send.message", first->iov_len)};
        if (cut_short.iov_len < first->iov_len) {
            j_.message.msg_hdr.msg_iov = &cut_short;
            j_.message.msg_hdr.msg_iovlen = 1;
        }
#endif
        begin_call(send_call::message);
        const int sent = ::sendmmsg(socket_.get(), &j_.message, 1, MSG_NOSIGNAL | flags);
        const int code = errno;
        fault::point("send.message");
        skip = j_.message.msg_len;
        complete_call(skip);
        if (sent < 0 && code != EINTR) return false;  // EPIPE, ECONNRESET: the client is gone, a clean end
    }
}

// Sends that part of the device from its files, without a copy where that works.
bool connection::send_file(std::uint64_t offset, std::uint64_t length) {
    return map_.for_each_piece(offset, length, [this](fd_ref file, std::uint64_t at, std::uint64_t left) {
        while (left > 0) {
            keep_order();
            j_.file_start = j_.file_offset = static_cast<off_t>(at);
            begin_call(send_call::file);
            const ssize_t n = ::sendfile(socket_.get(), file.get(), &j_.file_offset, fault::limit("send.file", left));
            const int code = errno;
            fault::point("send.file");
            const auto sent = static_cast<std::uint64_t>(j_.file_offset - j_.file_start);
            complete_call(sent);
            at += sent;
            left -= sent;
            if (n > 0 || (n < 0 && code == EINTR)) continue;
            if (n < 0 && (code == EPIPE || code == ECONNRESET)) return false;
            // The file can't be read here, or not this way. The header has promised bytes: copy them if they can be had
            // at all, and promise nothing again before the bytes are in hand.
            journal_.header().copy_only.store(1, std::memory_order_relaxed);
            return copy_rest(file, at, left);
        }
        return true;
    });
}

bool connection::copy_rest(fd_ref file, std::uint64_t offset, std::uint64_t length) {
    while (length > 0) {
        const ssize_t n = ::pread(file.get(), scratch_.data(), std::min<std::uint64_t>(length, scratch_.size()),
                                  static_cast<off_t>(offset));
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return cut();
        vectors_.assign(1, iovec{scratch_.data(), static_cast<std::size_t>(n)});
        if (!send_message(0, 0)) return false;
        offset += static_cast<std::uint64_t>(n);
        length -= static_cast<std::uint64_t>(n);
    }
    return true;
}

bool connection::cut() {
    end_ = connection_end::cut;
    return false;
}

// ---- progress ----

void connection::begin_call(send_call call) {
    keep_order();
    if (call == send_call::message) j_.message.msg_len = 0;
    const std::uint64_t done = j_.batch_progress.load(std::memory_order_relaxed) >> 2;
    j_.batch_progress.store(done << 2 | static_cast<std::uint64_t>(call), std::memory_order_release);
}

void connection::complete_call(std::uint64_t bytes) {
    const std::uint64_t word = j_.batch_progress.load(std::memory_order_relaxed);
    const std::uint64_t done = (word & 3) == 0 ? (word >> 2) : (word >> 2) + bytes;
    j_.batch_progress.store(done << 2, std::memory_order_release);
}

std::uint64_t connection::progress() const {
    const std::uint64_t word = j_.batch_progress.load(std::memory_order_acquire);
    switch (static_cast<send_call>(word & 3)) {
        case send_call::message:
            return (word >> 2) + j_.message.msg_len;
        case send_call::file:
            return (word >> 2) + static_cast<std::uint64_t>(j_.file_offset - j_.file_start);
        case send_call::none:
            break;
    }
    return word >> 2;
}

}  // namespace nerofs::serve
