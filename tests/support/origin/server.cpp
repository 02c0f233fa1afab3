#include "support/origin/server.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <system_error>

namespace nerofs::test {
namespace {

using clock = std::chrono::steady_clock;

constexpr std::size_t most_head_bytes = 64 * 1024;
constexpr std::size_t most_body_bytes = 16 * 1024 * 1024;
constexpr std::size_t piece_bytes = 64 * 1024;

[[noreturn]] void throw_errno(const char* what) {
    throw std::system_error(errno, std::generic_category(), what);
}

sockaddr_in loopback(std::uint16_t port) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return address;
}

// Bound to a port by its number: a port that the kernel chose is given back by shutdown(2).
unique_fd bind_to(std::uint16_t port) {
    unique_fd socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!socket) throw_errno("socket");
    const int on = 1;
    setsockopt(socket.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    const sockaddr_in address = loopback(port);
    if (bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) throw_errno("bind");
    return socket;
}

std::uint16_t port_of(fd_ref socket) {
    sockaddr_in address{};
    socklen_t length = sizeof address;
    if (getsockname(socket.get(), reinterpret_cast<sockaddr*>(&address), &length) != 0) throw_errno("getsockname");
    return ntohs(address.sin_port);
}

unique_fd listen_on(std::uint16_t port) {
    unique_fd first = bind_to(port);
    unique_fd socket = port == 0 ? bind_to(port_of(first)) : std::move(first);
    if (listen(socket.get(), 1024) != 0) throw_errno("listen");
    return socket;
}

std::string reason(int status) {
    switch (status) {
        case 200:
            return "OK";
        case 206:
            return "Partial Content";
        case 307:
            return "Temporary Redirect";
        case 401:
            return "Unauthorized";
        case 403:
            return "Forbidden";
        case 404:
            return "Not Found";
        case 416:
            return "Range Not Satisfiable";
        case 429:
            return "Too Many Requests";
        case 503:
            return "Service Unavailable";
        default:
            return "Status";
    }
}

}  // namespace

clock::time_point throttle::reserve(std::uint64_t bytes) {
    const std::uint64_t rate = rate_;
    if (rate == 0) return clock::time_point{};
    const std::lock_guard lock(mutex_);
    const clock::time_point start = std::max(free_at_, clock::now());
    free_at_ = start + std::chrono::nanoseconds(bytes * 1'000'000'000 / rate);
    return free_at_;
}

server::server(const origin_options& options) : options_(options), faults_(options.seed) {
    listeners_[0] = listen_on(options.port);
    listeners_[1] = listen_on(0);
    for (int i : {0, 1}) ports_[i] = port_of(listeners_[i]);
    wake_.reset(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    if (!wake_) throw_errno("eventfd");
}

void server::run(answerer answer) {
    answer_ = std::move(answer);
    acceptor_ = std::jthread([this] { accept_loop(); });
    pthread_setname_np(acceptor_.native_handle(), "origin-accept");
}

void server::stop() {
    {
        const std::lock_guard lock(mutex_);
        stopping_ = true;
        for (connection& c : connections_) shutdown(c.socket.get(), SHUT_RDWR);
    }
    eventfd_write(wake_.get(), 1);
    if (acceptor_.joinable()) acceptor_.join();
    for (connection& c : connections_)
        if (c.thread.joinable()) c.thread.join();
}

void server::set_shape(origin_shape shape) {
    const std::lock_guard lock(mutex_);
    shape_ = shape;
    total_.set(shape.total_bytes_per_second);
    for (connection& c : connections_) c.limit.set(shape.connection_bytes_per_second);
}

void server::add_fault(fault f) {
    const std::lock_guard lock(mutex_);
    faults_.add(std::move(f));
}

void server::clear_faults() {
    const std::lock_guard lock(mutex_);
    faults_.clear();
}

void server::go_away(origin::away how) {
    const std::lock_guard lock(mutex_);
    presence_ = how == origin::away::refuse ? presence::refusing : presence::dropping;
    // A listening socket that is shut down keeps its port and refuses; listen(2) revives it.
    if (presence_ == presence::refusing)
        for (const unique_fd& l : listeners_) shutdown(l.get(), SHUT_RDWR);
    for (connection& c : connections_) shutdown(c.socket.get(), SHUT_RDWR);
    eventfd_write(wake_.get(), 1);
}

void server::come_back() {
    const std::lock_guard lock(mutex_);
    if (presence_ == presence::refusing)
        for (const unique_fd& l : listeners_)
            if (listen(l.get(), 1024) != 0) throw_errno("listen again");
    presence_ = presence::here;
    eventfd_write(wake_.get(), 1);
}

std::vector<request_record> server::log() const {
    const std::lock_guard lock(mutex_);
    return log_;
}

std::size_t server::connections() const {
    const std::lock_guard lock(mutex_);
    return accepted_;
}

void server::clear_log() {
    const std::lock_guard lock(mutex_);
    log_begin_ += log_.size();
    log_.clear();
}

void server::on_request(std::function<void(const request_record&)> listener) {
    const std::lock_guard lock(mutex_);
    listener_ = std::move(listener);
}

void server::accept_loop() {
    for (;;) {
        pollfd ready[3] = {
            {wake_.get(), POLLIN, 0}, {listeners_[0].get(), POLLIN, 0}, {listeners_[1].get(), POLLIN, 0}};
        {
            const std::lock_guard lock(mutex_);
            if (stopping_) return;
            if (presence_ == presence::refusing) ready[1].fd = ready[2].fd = -1;
        }
        poll(ready, 3, -1);
        eventfd_t ignored = 0;
        if (ready[0].revents) eventfd_read(wake_.get(), &ignored);
        remove_ended();
        for (const std::size_t which : {0u, 1u})
            if (ready[which + 1].revents) accept_one(which);
    }
}

void server::accept_one(std::size_t which) {
    unique_fd socket(accept4(listeners_[which].get(), nullptr, nullptr, SOCK_CLOEXEC));
    if (!socket) return;
    const std::lock_guard lock(mutex_);
    ++accepted_;
    if (stopping_ || presence_ != presence::here || connections_.size() >= options_.most_connections) return;
    const int on = 1;
    setsockopt(socket.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    connection& c = connections_.emplace_back();
    c.socket = std::move(socket);
    c.number = accepted_;
    c.storage = which == 1;
    c.limit.set(shape_.connection_bytes_per_second);
    c.thread = std::jthread([this, &c] { serve(c); });
    pthread_setname_np(c.thread.native_handle(), "origin-serve");
}

void server::remove_ended() {
    std::list<connection> ended;
    const std::lock_guard lock(mutex_);
    for (auto c = connections_.begin(); c != connections_.end();) {
        const auto next = std::next(c);
        if (c->over) ended.splice(ended.end(), connections_, c);
        c = next;
    }
    for (connection& c : ended) c.thread.join();  // it has left the lock for good
}

bool server::wait_until(connection& c, clock::time_point when) {
    for (;;) {
        const auto left = std::chrono::ceil<std::chrono::milliseconds>(when - clock::now());
        if (left.count() <= 0) return true;
        pollfd gone{c.socket.get(), POLLRDHUP, 0};
        if (poll(&gone, 1, static_cast<int>(std::min<std::int64_t>(left.count(), 3'600'000))) > 0) return false;
    }
}

bool server::wait_for(connection& c, std::chrono::milliseconds time) {
    return time.count() == 0 || wait_until(c, clock::now() + time);
}

bool server::end_by(connection& c, body_end how) {
    if (how == body_end::stall) wait_for(c, std::chrono::hours(1));
    if (how == body_end::reset) {
        const linger at_once{1, 0};
        setsockopt(c.socket.get(), SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    }
    return false;
}

void server::serve(connection& c) {
    std::string buffer;
    std::string head;
    origin_shape shape;
    {
        const std::lock_guard lock(mutex_);
        shape = shape_;
    }
    bool on = wait_for(c, shape.accept_delay);
    while (on && read_head(c, buffer, head)) {
        auto request = parse_request(head);
        if (!request) break;
        request->storage = c.storage;
        on = read_body(c, buffer, *request) && answer_one(c, *request);
    }
    const std::lock_guard lock(mutex_);
    c.socket.reset();
    c.over = true;
    eventfd_write(wake_.get(), 1);
}

bool server::read_head(connection& c, std::string& buffer, std::string& head) {
    for (;;) {
        if (const std::size_t end = buffer.find("\r\n\r\n"); end != std::string::npos) {
            head = buffer.substr(0, end);
            buffer.erase(0, end + 4);
            return true;
        }
        // What isn't a method is TLS, most likely; real servers say so.
        if (!buffer.empty() && (buffer.front() < 'A' || buffer.front() > 'Z')) {
            send_all(c, "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            return false;
        }
        if (buffer.size() > most_head_bytes) return false;
        char piece[4096];
        const ssize_t n = recv(c.socket.get(), piece, sizeof piece, 0);
        if (n <= 0) return false;
        buffer.append(piece, static_cast<std::size_t>(n));
    }
}

bool server::read_body(connection& c, std::string& buffer, http_request& request) {
    const std::string length = request.header("content-length");
    std::size_t size = 0;
    std::from_chars(length.data(), length.data() + length.size(), size);
    if (size > most_body_bytes) return false;
    while (buffer.size() < size) {
        char piece[4096];
        const ssize_t got = recv(c.socket.get(), piece, sizeof piece, 0);
        if (got <= 0) return false;
        buffer.append(piece, static_cast<std::size_t>(got));
    }
    request.body = buffer.substr(0, size);
    buffer.erase(0, size);
    return true;
}

bool server::answer_one(connection& c, const http_request& request) {
    request_record record{.method = request.method,
                          .target = request.target,
                          .path = request.path,
                          .headers = request.headers,
                          .body = request.body,
                          .range = request.range(UINT64_MAX),
                          .storage = request.storage,
                          .connection = c.number,
                          .at = clock::now()};
    origin_shape shape;
    std::vector<fault> faults;
    std::uint64_t number = 0;
    {
        const std::lock_guard lock(mutex_);
        shape = shape_;
        faults = faults_.take(request.path);
        number = log_begin_ + log_.size();
        log_.push_back(record);
    }
    http_answer a = answer_(request);
    for (const fault& f : faults) apply(f, request, a);
    a.head_delay += shape.delay;
    a.body_delay += shape.body_delay;
    record.status = a.instead ? 0 : a.status;
    {
        // Before a byte is sent, so that who has the answer finds it in the log.
        const std::lock_guard lock(mutex_);
        if (number >= log_begin_) log_[number - log_begin_].status = record.status;
    }
    const bool on = send_answer(c, request, a, record.body_bytes);
    std::function<void(const request_record&)> listener;
    {
        const std::lock_guard lock(mutex_);
        if (number >= log_begin_) log_[number - log_begin_].body_bytes = record.body_bytes;
        listener = listener_;
    }
    if (listener) listener(record);
    return on;
}

bool server::send_answer(connection& c, const http_request& request, http_answer& a, std::uint64_t& sent) {
    if (!wait_for(c, a.head_delay)) return false;
    if (a.instead) {
        send_all(c, a.raw);
        return end_by(c, *a.instead);
    }
    std::string head;
    if (a.interim) head += "HTTP/1.1 103 Early Hints\r\nContent-Range: bytes 1-2/3\r\nLink: </x>; rel=preload\r\n\r\n";
    head += "HTTP/1.1 " + std::to_string(a.status) + " " + reason(a.status) + "\r\n";
    for (const auto& [name, value] : a.headers) head += name + ": " + value + "\r\n";
    if (a.chunked) {
        head += "Transfer-Encoding: chunked\r\n";
    } else {
        head += "Content-Length: " + std::to_string(a.length + a.extra) + "\r\n";
    }
    if (a.close) head += "Connection: close\r\n";
    if (a.huge_head)
        for (int i = 0; i < 5000; ++i) head += "X-Filler-" + std::to_string(i) + ": " + std::string(100, 'x') + "\r\n";
    head += "\r\n";
    const bool body = request.method != "HEAD";
    if (!send_all(c, head, body && a.length > 0 && a.body_delay.count() == 0)) return false;
    if (!body) return !a.close;
    return wait_for(c, a.body_delay) && send_body(c, a, sent) && !a.close;
}

bool server::send_body(connection& c, const http_answer& a, std::uint64_t& sent) {
    const std::uint64_t all = a.length + a.extra;
    const std::uint64_t most = a.stop_after ? std::min(*a.stop_after, all) : all;
    std::uint64_t rate = 0;
    {
        const std::lock_guard lock(mutex_);
        rate = std::max(shape_.connection_bytes_per_second, shape_.total_bytes_per_second);
    }
    // Small enough that a limited body flows instead of jumping.
    const std::uint64_t piece_size = rate == 0 ? piece_bytes : std::clamp<std::uint64_t>(rate / 100, 512, piece_bytes);
    std::string piece;
    while (sent < most) {
        const std::uint64_t n = std::min(piece_size, most - sent);
        piece.assign(n, 'X');
        if (sent < a.length) {
            const std::uint64_t real = std::min(n, a.length - sent);
            a.body.read(a.first + sent, std::as_writable_bytes(std::span(piece.data(), real)));
        }
        if (a.flip)
            for (char& byte : piece) byte = static_cast<char>(byte ^ 1);
        if (!wait_until(c, std::max(c.limit.reserve(n), total_.reserve(n)))) return false;
        if (a.chunked) {
            char size[32];
            const auto end = std::to_chars(size, size + sizeof size, n, 16).ptr;
            if (!send_all(c, std::string(size, end) + "\r\n" + piece + "\r\n")) return false;
        } else if (!send_all(c, piece)) {
            return false;
        }
        sent += n;
    }
    if (a.stop_after) return end_by(c, a.end);
    return !a.chunked || send_all(c, "0\r\n\r\n");
}

bool server::send_all(connection& c, std::string_view bytes, bool more) {
    while (!bytes.empty()) {
        const ssize_t n = send(c.socket.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL | (more ? MSG_MORE : 0));
        if (n <= 0) return false;
        bytes.remove_prefix(static_cast<std::size_t>(n));
    }
    return true;
}

}  // namespace nerofs::test
