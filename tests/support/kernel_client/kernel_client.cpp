#include "support/kernel_client/kernel_client.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <algorithm>
#include <cerrno>
#include <utility>

namespace nerofs::test {

namespace {

// As the driver receives: all of it, or the socket's end.
bool receive_all(fd_ref socket, std::span<std::byte> into, bool& began) {
    while (!into.empty()) {
        const ssize_t count = ::recv(socket.get(), into.data(), into.size(), MSG_WAITALL | MSG_NOSIGNAL);
        if (count < 0 && errno == EINTR) continue;
        if (count <= 0) return false;
        began = true;
        into = into.subspan(static_cast<std::size_t>(count));
    }
    return true;
}

// As the driver sends a header: in one call. AF_UNIX streams don't cut 28 bytes.
bool send_header(fd_ref socket, const nbd::request& header) {
    ssize_t count = 0;
    do {
        count = ::send(socket.get(), &header, sizeof header, MSG_NOSIGNAL);
    } while (count < 0 && errno == EINTR);
    return count == static_cast<ssize_t>(sizeof header);
}

// The driver's calls block whatever the descriptor's flags say, and its sends give up after the timeout.
void make_like_the_kernels(fd_ref socket, std::chrono::milliseconds timeout) {
    const int flags = ::fcntl(socket.get(), F_GETFL);
    if (flags >= 0) ::fcntl(socket.get(), F_SETFL, flags & ~O_NONBLOCK);
    timeval limit{};
    limit.tv_sec = timeout.count() / 1000;
    limit.tv_usec = timeout.count() % 1000 * 1000;
    ::setsockopt(socket.get(), SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
}

constexpr unsigned queue_of(std::uint64_t cookie) {
    return static_cast<unsigned>(cookie >> 16 & 0xffff);
}
constexpr unsigned number_of(std::uint64_t cookie) {
    return static_cast<unsigned>(cookie & 0xffff);
}
constexpr std::uint32_t counter_of(std::uint64_t cookie) {
    return static_cast<std::uint32_t>(cookie >> 32);
}

}  // namespace

std::string_view to_string(violation_kind kind) {
    switch (kind) {
        case violation_kind::wrong_magic:
            return "wrong magic";
        case violation_kind::unknown_cookie:
            return "unknown cookie";
        case violation_kind::duplicate_reply:
            return "duplicate reply";
        case violation_kind::wrong_socket:
            return "reply on another socket than the request's";
        case violation_kind::reply_to_disc:
            return "reply to DISC";
    }
    return "unknown";
}

struct kernel_client::connection {
    std::shared_ptr<const unique_fd>
        socket;                    // shared with its worker and whoever is sending: closed by the last of them
    std::uint64_t generation = 0;  // counts the sockets that were in this place
    bool dead = false;
    std::mutex sending;  // the driver's tx_lock: taken before the client's mutex, held across a send
};

// A request of the device's tag set.
struct kernel_client::slot {
    enum class phase : std::uint8_t { free, waiting, in_flight, receiving, done };

    std::uint32_t tag = 0;      // queue << 16 | number
    std::uint32_t counter = 0;  // sends so far; the upper half of the cookie
    phase at = phase::free;
    std::uint64_t offset = 0;
    std::vector<std::byte> data = {};
    unsigned socket = 0;           // where it was sent last
    std::uint64_t generation = 0;  // ... and which socket it was
    clock::time_point deadline = {};
    std::string failure = {};  // why it is done without data
    std::condition_variable changed;

    std::uint64_t cookie() const { return std::uint64_t{counter} << 32 | tag; }
};

kernel_client::kernel_client(std::vector<unique_fd> sockets, std::uint64_t size, kernel_client_options options)
    : size_(size), options_(std::move(options)) {
    const std::size_t count = std::min(sockets.size(), max_connections);
    const lock held(mutex_);
    for (unsigned queue = 0; queue < count; ++queue) {
        make_like_the_kernels(sockets[queue], options_.timeout);
        connections_.push_back(std::make_unique<connection>());
        connections_.back()->socket = std::make_shared<const unique_fd>(std::move(sockets[queue]));
        for (unsigned number = 0; number < depth; ++number) {
            slots_.push_back(std::make_unique<slot>());
            slots_.back()->tag = queue << 16 | number;
        }
    }
    live_ = static_cast<unsigned>(count);
    for (unsigned index = 0; index < count; ++index) start_worker(index);
}

kernel_client::~kernel_client() {
    {
        lock held(mutex_);
        shut_down(held);
        sockets_changed_.wait(held, [this] { return reading_ == 0; });
    }
    workers_.clear();  // joins them, without the lock that they need to end
}

// With the mutex held.
void kernel_client::start_worker(unsigned index) {
    connection& c = *connections_[index];
    workers_.emplace_back(
        [this, index, generation = c.generation, socket = c.socket] { receive(index, generation, socket); });
}

result<std::vector<std::byte>> kernel_client::read(std::uint64_t offset, std::uint32_t length) {
    const clock::time_point start = clock::now();
    if (offset > size_ || length > size_ - offset)
        return fail(error_kind::permanent, "read: beyond the end of the device", EIO);

    lock held(mutex_);
    ++reading_;
    slot& request = take_slot(held);
    request.offset = offset;
    request.data.resize(length);
    request.failure.clear();
    request.at = slot::phase::waiting;

    const result<void> ran = run(held, request);

    std::vector<std::byte> data = std::move(request.data);
    give_back(request);
    ++statistics_.reads;
    if (ran) {
        statistics_.latencies.push_back(clock::now() - start);
    } else {
        ++statistics_.eios;
    }
    if (--reading_ == 0) sockets_changed_.notify_all();
    if (!ran) return fail(ran.error());
    return data;
}

// A free slot of the next queue; waits for one. The driver's queue is that of the CPU, ours goes round.
kernel_client::slot& kernel_client::take_slot(lock& held) {
    const unsigned queue = next_queue_++ % static_cast<unsigned>(connections_.size());
    for (;;) {
        for (unsigned number = 0; number < depth; ++number) {
            slot& candidate = *slots_[queue * depth + number];
            if (candidate.at == slot::phase::free) return candidate;
        }
        slot_free_.wait(held);
    }
}

void kernel_client::give_back(slot& used) {
    used.at = slot::phase::free;
    used.data = {};
    slot_free_.notify_all();
}

// Sends the request and waits for its end; sends it again when its timer runs out.
result<void> kernel_client::run(lock& held, slot& request) {
    const auto eio = [](std::string why) { return fail(error_kind::permanent, "read: " + std::move(why), EIO); };
    while (true) {
        if (request.at == slot::phase::waiting) {
            const auto index = wait_for_socket(held, request.tag >> 16);
            if (!index) return eio(disconnecting_ ? "the device is disconnected" : "no socket is alive");
            send(held, request, *index);
            continue;
        }
        if (request.at == slot::phase::done) {
            if (request.failure.empty()) return {};
            return eio(request.failure);
        }
        // A reply that is being received has the buffer; its worker ends, as a disconnect shuts the socket down.
        if (disconnected_ && request.at == slot::phase::in_flight) return eio("the device is disconnected");
        if (request.changed.wait_until(held, request.deadline) == std::cv_status::no_timeout) continue;
        if (clock::now() < request.deadline) continue;
        if (request.at == slot::phase::receiving) {
            request.deadline = clock::now() + options_.timeout;  // the driver's timer finds the request locked
        } else if (request.at == slot::phase::in_flight && !disconnected_) {
            ++statistics_.timeouts;
            ++statistics_.requeues;
            request.at = slot::phase::waiting;  // before the lock is let go: a reply from now on is too late
            kill_socket(held, request.socket, request.generation);
        }
    }
}

// The preferred socket, else another that is alive; waits for one for dead_conn_timeout.
std::optional<unsigned> kernel_client::wait_for_socket(lock& held, unsigned preferred) {
    const clock::time_point deadline = clock::now() + options_.dead_conn_timeout;
    while (true) {
        if (disconnecting_) return std::nullopt;
        if (!connections_[preferred]->dead) return preferred;
        for (unsigned index = 0; index < connections_.size(); ++index)
            if (!connections_[index]->dead) return index;
        if (clock::now() >= deadline) return std::nullopt;
        sockets_changed_.wait_until(held, deadline);
    }
}

// The request is in flight afterwards, or still waiting because the socket was dead or died.
void kernel_client::send(lock& held, slot& request, unsigned index) {
    connection& c = *connections_[index];
    held.unlock();
    std::unique_lock sending(c.sending);
    held.lock();
    if (c.dead || disconnecting_) return;

    const auto socket = c.socket;
    const std::uint64_t generation = c.generation;
    ++request.counter;
    ++statistics_.sent;
    request.socket = index;
    request.generation = generation;
    request.deadline = clock::now() + options_.timeout;
    request.at = slot::phase::in_flight;
    const nbd::request header = nbd::make_request(nbd::cmd::read, request.cookie(), request.offset,
                                                  static_cast<std::uint32_t>(request.data.size()));
    held.unlock();
    const bool sent = send_header(*socket, header);
    sending.unlock();
    held.lock();
    if (sent) return;
    if (request.at == slot::phase::in_flight) {
        request.at = slot::phase::waiting;
        ++statistics_.requeues;
    }
    kill_socket(held, index, generation);
}

// The worker of one socket.
void kernel_client::receive(unsigned index, std::uint64_t generation, std::shared_ptr<const unique_fd> socket) {
    while (receive_reply(index, *socket)) {
    }
    lock held(mutex_);
    kill_socket(held, index, generation);
}

// One reply. False: the socket is of no more use.
bool kernel_client::receive_reply(unsigned index, fd_ref socket) {
    nbd::simple_reply reply;
    bool began = false;
    const bool whole = receive_all(socket, std::as_writable_bytes(std::span(&reply, 1)), began);

    lock held(mutex_);
    if (!whole) {
        if (began && !disconnecting_) ++statistics_.cut_replies;
        return false;
    }
    if (reply.magic != nbd::simple_reply_magic) {
        record(violation_kind::wrong_magic, index, 0);
        return false;
    }
    slot* const found = match(index, reply.cookie);
    if (found == nullptr) return false;
    slot& request = *found;
    if (reply.error != 0) {
        ++statistics_.error_replies;
        request.failure = "the server answered with error " + std::to_string(reply.error.get());
        request.at = slot::phase::done;
        request.changed.notify_all();
        return true;
    }

    request.at = slot::phase::receiving;  // from here on only we touch its data
    const std::span<std::byte> data(request.data);
    held.unlock();
    bool received = true;
    for (std::size_t start = 0; start < data.size() && received; start += page_bytes)
        received = receive_all(socket, data.subspan(start, std::min(page_bytes, data.size() - start)), began);
    held.lock();
    // A cut one waits for its timer, as if nothing had come.
    request.at = received ? slot::phase::done : slot::phase::in_flight;
    if (!received && !disconnecting_) ++statistics_.cut_replies;
    request.changed.notify_all();
    return received;
}

// The request that a cookie means, if a reply to it on this socket is right now. As in the driver, a request sent on a
// socket that has been replaced since may be answered on the replacement: it looks at the place, not at the socket.
kernel_client::slot* kernel_client::match(unsigned index, std::uint64_t cookie) {
    if (cookie == 0) {  // what DISC carries; no request has it, as counters begin with 1
        record(violation_kind::reply_to_disc, index, cookie);
        return nullptr;
    }
    if (queue_of(cookie) >= connections_.size() || number_of(cookie) >= depth) {
        record(violation_kind::unknown_cookie, index, cookie);
        return nullptr;
    }
    slot& request = *slots_[queue_of(cookie) * depth + number_of(cookie)];
    const std::uint32_t counter = counter_of(cookie);
    if (counter == 0 || counter > request.counter) {
        record(violation_kind::unknown_cookie, index, cookie);
        return nullptr;
    }
    if (counter < request.counter || request.at != slot::phase::in_flight) {
        if (!disconnecting_) record(violation_kind::duplicate_reply, index, cookie);
        return nullptr;
    }
    if (request.socket != index) {
        record(violation_kind::wrong_socket, index, cookie);
        return nullptr;
    }
    return &request;
}

void kernel_client::record(violation_kind kind, unsigned index, std::uint64_t cookie) {
    if (kind == violation_kind::duplicate_reply) ++statistics_.duplicates;
    std::string text = "socket " + std::to_string(index) + ": " + std::string(to_string(kind));
    if (cookie != 0)
        text += " (send " + std::to_string(counter_of(cookie)) + " of request " + std::to_string(queue_of(cookie)) +
                "/" + std::to_string(number_of(cookie)) + ")";
    violations_.push_back({kind, index, cookie, std::move(text)});
}

// Nothing happens if the socket is dead or another has its place. Lets the lock go for link_dead().
void kernel_client::kill_socket(lock& held, unsigned index, std::uint64_t generation) {
    connection& c = *connections_[index];
    if (c.dead || c.generation != generation) return;
    c.dead = true;
    --live_;
    ::shutdown(c.socket->get(), SHUT_RDWR);
    sockets_changed_.notify_all();
    if (disconnecting_) return;
    ++statistics_.deaths;
    if (!options_.link_dead) return;
    held.unlock();
    options_.link_dead(index);
    held.lock();
}

std::optional<unsigned> kernel_client::reconfigure(unique_fd socket) {
    make_like_the_kernels(socket, options_.timeout);
    const lock held(mutex_);
    if (disconnecting_) return std::nullopt;
    for (unsigned index = 0; index < connections_.size(); ++index) {
        connection& c = *connections_[index];
        if (!c.dead) continue;
        c.socket = std::make_shared<const unique_fd>(std::move(socket));
        c.dead = false;
        ++c.generation;
        ++live_;
        ++statistics_.reconfigured;
        start_worker(index);
        sockets_changed_.notify_all();
        return index;
    }
    return std::nullopt;
}

void kernel_client::disconnect() {
    {
        const lock held(mutex_);
        if (std::exchange(disconnecting_, true)) return;
    }
    const nbd::request goodbye = nbd::make_request(nbd::cmd::disc, 0, 0, 0);
    for (const auto& c : connections_) {
        const std::lock_guard sending(c->sending);
        std::shared_ptr<const unique_fd> socket;
        {
            const lock held(mutex_);
            if (!c->dead) socket = c->socket;
        }
        if (socket) (void)send_header(*socket, goodbye);
    }
    lock held(mutex_);
    sockets_changed_.wait_for(held, options_.disconnect_pause, [this] { return live_ == 0; });
    shut_down(held);
}

// Ends everything; reads under way see it and fail.
void kernel_client::shut_down(lock& held) {
    disconnecting_ = true;
    disconnected_ = true;
    for (unsigned index = 0; index < connections_.size(); ++index)
        kill_socket(held, index, connections_[index]->generation);
    for (const auto& request : slots_) request->changed.notify_all();
    sockets_changed_.notify_all();
}

unsigned kernel_client::live_sockets() const {
    const lock held(mutex_);
    return live_;
}

bool kernel_client::wait_for_live_sockets(unsigned count, std::chrono::milliseconds at_most) const {
    lock held(mutex_);
    return sockets_changed_.wait_for(held, at_most, [&] { return count == 0 ? live_ == 0 : live_ >= count; });
}

kernel_client_statistics kernel_client::statistics() const {
    const lock held(mutex_);
    return statistics_;
}

std::vector<violation> kernel_client::violations() const {
    const lock held(mutex_);
    return violations_;
}

}  // namespace nerofs::test
