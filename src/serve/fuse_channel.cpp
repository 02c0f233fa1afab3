#include "serve/fuse_channel.h"

#include <poll.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>

#include "base/checked.h"
#include "base/fault.h"
#include "base/log.h"

namespace nerofs::serve {
namespace {

constexpr std::size_t page_bytes = 4096;
constexpr int most_requests_a_round = 16;  // before the waiting reads are looked at again
constexpr std::int32_t no_bytes = EIO;

static_assert(sizeof(connection_journal::intake) >= fuse::max_known_request_bytes);
static_assert(offsetof(connection_journal, intake) == 0 && sizeof(connection_journal::intake) <= page_bytes);

void add(std::atomic<std::uint64_t>& counter, std::uint64_t n) {
    counter.store(counter.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);  // single writer
}

}  // namespace

fuse_channel::fuse_channel(fd_ref device, const image_map& map, const journal& j, std::size_t index,
                           std::optional<waiter> waiting)
    : device_(device),
      map_(map),
      journal_(j),
      index_(index),
      j_(j.connection(index)),
      waiting_(std::move(waiting)),
      rest_(fuse::read_buffer_bytes - sizeof(connection_journal::intake)),
      buffer_(fuse::max_read_bytes + 2 * page_bytes) {
    free_.reserve(max_in_flight);
    settled_.reserve(max_in_flight);
    void* at = buffer_.data() + sizeof(fuse::reply_header);
    std::size_t room = buffer_.size() - sizeof(fuse::reply_header);
    page_ = static_cast<std::byte*>(std::align(page_bytes, fuse::max_read_bytes, at, room));
}

connection_end fuse_channel::run() {
    if (recover()) {
        while (step()) {
        }
    }
    return end_;
}

// Answers what needn't wait any longer, then waits for more: requests, or bytes that are missing.
bool fuse_channel::step() {
    if (!waiting_ || waiting_->empty()) {
        let_reads_block(true);
        return receive();
    }
    settled_.clear();
    waiting_->settle([this](const waiter::read& read, waiter::outcome how) {
        const auto index = static_cast<std::uint16_t>(read.tag);
        if (how == waiter::outcome::failed) j_.slots[index].error = no_bytes;
        settled_.push_back(index);
    });
    for (const std::uint16_t index : settled_) answer_slot(index);
    if (!settled_.empty()) return true;

    // Another channel may take the request that poll(2) has seen, so reading mustn't wait: it would wait past the
    // bytes.
    let_reads_block(false);
    // With all slots in use nothing can be received, but the end of the file system (POLLERR) is the end of the
    // waiting.
    if (!waiting_->wait(device_, free_.empty() ? short{0} : short{POLLIN})) return true;
    for (int i = 0; i < most_requests_a_round; ++i) {
        if (!receive()) return false;
        if (gave_nothing_ || free_.empty()) break;
    }
    return true;
}

// ---- receiving ----

std::span<std::byte> fuse_channel::intake() const {
    return std::as_writable_bytes(std::span(j_.intake));
}

// One request, straight into the journal. What is longer than the intake is nothing that a successor would need.
bool fuse_channel::receive() {
    // It is clear. The store makes sure that the page is there to be written to, also for a process that is being
    // killed.
    clear_intake();
    const iovec parts[2] = {{intake().data(), intake().size()}, {rest_.data(), rest_.size()}};
    gave_nothing_ = false;
    const ssize_t n = ::readv(device_.get(), parts, 2);
    if (n < 0) {
        switch (errno) {
            case EINTR:
            case EAGAIN:
            case ENOENT:  // a request that was aborted while it was handed over
                gave_nothing_ = true;
                return true;
            case ENODEV:        // unmounted
            case ECONNABORTED:  // ended by its keeper, or by root
                end_ = connection_end::disconnect;
                return false;
            default:
                return false;
        }
    }
    if (n == 0) return false;
    fault::point("fuse.intake");
    if (static_cast<std::size_t>(n) != fuse::request_bytes(intake())) {
        end_ = connection_end::violation;
        return false;
    }
    return handle_intake();
}

// After everything stored before. A request that the driver hands over is there when its length is.
void fuse_channel::clear_intake() {
    __atomic_store_n(reinterpret_cast<std::uint32_t*>(intake().data()), 0u, __ATOMIC_RELEASE);
    std::atomic_signal_fence(std::memory_order_seq_cst);
}

// Answers the request in the intake, or puts it into a slot.
bool fuse_channel::handle_intake() {
    const fuse::verdict v = fuse::judge(intake(), map_.size());
    switch (v.what) {
        case fuse::action::drop:
            end_ = connection_end::violation;
            return false;
        case fuse::action::ignore:
            break;
        case fuse::action::answer:
            std::memcpy(body(), v.body.data(), v.body_bytes);
            reply(v.unique, v.error, v.body_bytes);
            break;
        case fuse::action::read:
            if (waiting_ && !free_.empty() && map_.lookup(v.offset, v.length) == cache::presence::missing)
                set_aside(v);
            else
                answer_read(v.unique, v.offset, v.length, false);
            break;
    }
    add(j_.requests, 1);
    clear_intake();
    fault::point("fuse.done");
    return true;
}

void fuse_channel::set_aside(const fuse::verdict& read) {
    const std::uint16_t index = free_.back();
    free_.pop_back();
    request_slot& slot = j_.slots[index];
    slot.length = read.length;
    slot.cookie = read.unique;
    slot.offset = read.offset;
    slot.error = 0;
    slot.state.store(slot_state::received, std::memory_order_release);
    fault::point("fuse.slot");
    waiting_->add(index, read.offset, read.length);
}

// ---- taking over ----

bool fuse_channel::recover() {
    std::uint64_t owed = 0;
    for (const request_slot& slot : j_.slots) {
        // The process that wrote it may have died of damaging it.
        if (slot.state.load(std::memory_order_acquire) == slot_state::empty) continue;
        if (slot.length > fuse::max_read_bytes || !range_within<std::uint64_t>(slot.offset, slot.length, map_.size()))
            return start_afresh();
    }
    std::uint32_t in_intake = 0;
    std::memcpy(&in_intake, intake().data(), sizeof in_intake);
    if (in_intake != 0 && fuse::request_bytes(intake()) == 0) return start_afresh();

    // First of all, so that it is in one place: a slot that has it, too, isn't answered yet.
    const bool in_slot = in_intake != 0 && std::any_of(j_.slots.begin(), j_.slots.end(), [this](const request_slot& s) {
                             return s.state.load(std::memory_order_acquire) != slot_state::empty &&
                                    s.cookie == fuse::unique_of(intake());
                         });
    if (in_slot) clear_intake();
    for (std::uint16_t i = 0; i < max_in_flight; ++i) {
        const request_slot& slot = j_.slots[i];
        if (slot.state.load(std::memory_order_acquire) == slot_state::empty) {
            free_.push_back(i);
            continue;
        }
        ++owed;
        if (waiting_ && slot.error == 0 && map_.lookup(slot.offset, slot.length) == cache::presence::missing)
            waiting_->add(i, slot.offset, slot.length);
        else
            answer_slot(i);
    }
    if (in_intake != 0 && !in_slot) {
        ++owed;
        if (!handle_intake()) return false;
    }
    add(j_.takeovers, owed);
    return true;
}

// What the journal says is worth nothing: the driver is asked for everything again.
bool fuse_channel::start_afresh() {
    if (::write(device_.get(), &fuse::resend_all, sizeof fuse::resend_all) != sizeof fuse::resend_all) {
        end_ = connection_end::cut;
        return false;
    }
    log::warning("the journal of a FUSE channel is damaged; the kernel asks everything again");
    journal_.reset(index_);
    free_.clear();
    for (std::uint16_t i = 0; i < max_in_flight; ++i) free_.push_back(i);
    return true;
}

// ---- answering ----

void fuse_channel::answer_slot(std::uint16_t index) {
    request_slot& slot = j_.slots[index];
    answer_read(slot.cookie, slot.offset, slot.length, slot.error != 0);
    slot.state.store(slot_state::empty, std::memory_order_release);
    std::atomic_signal_fence(std::memory_order_seq_cst);
    free_.push_back(index);
    fault::point("fuse.done");
}

// With the bytes, or EIO.
void fuse_channel::answer_read(std::uint64_t unique, std::uint64_t offset, std::uint32_t length, bool given_up) {
    const bool in_hand =
        !given_up && map_.lookup(offset, length) == cache::presence::there && map_.read(offset, {body(), length});
    if (!in_hand) add(j_.errors, 1);
    reply(unique, in_hand ? 0 : no_bytes, length);
    if (in_hand) map_.touch(offset, length);
}

// One write(2), whole or not at all. ENOENT: the request has been answered already, by the process before this one.
void fuse_channel::reply(std::uint64_t unique, std::int32_t error, std::uint32_t body_bytes) {
    fuse::reply_header header = fuse::make_reply(unique, error, body_bytes);
    std::byte* const begin = body() - sizeof header;
    std::memcpy(begin, &header, sizeof header);
    fault::point("fuse.answer");
    ssize_t n;
    do n = ::write(device_.get(), begin, header.length);
    while (n < 0 && errno == EINTR);
    const int code = n < 0 ? errno : 0;
    fault::point("fuse.answered");
    if (n == static_cast<ssize_t>(header.length)) return add(j_.reply_bytes, header.length);
    if (code == ENOENT || code == EPIPE || code == ECONNRESET || code == ENODEV) return;
    // Refused for want of memory or the like, before or after the request was found: it must not wait for ever.
    header = fuse::make_reply(unique, no_bytes, 0);
    (void)!::write(device_.get(), &header, sizeof header);
    log::error("an answer was refused by the FUSE driver: " + errno_error(code, "write").text);
    add(j_.errors, 1);
}

// The flag belongs to the file description, which predecessors have set as they needed it.
void fuse_channel::let_reads_block(bool block) {
    if (reads_block_ == block) return;
    int dont_block = block ? 0 : 1;
    (void)::ioctl(device_.get(), FIONBIO, &dont_block);
    reads_block_ = block;
}

}  // namespace nerofs::serve
