// Requests over HTTP/1.1, many at a time, on one thread of their own.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "base/result.h"
#include "http/request.h"

namespace nerofs::http {

struct client_options {
    std::size_t connections_per_host = 8;
    std::size_t connections = 64;     // to all hosts
    std::size_t most_waiting = 4096;  // requests; one more fails at once, kind retryable
    std::string ca_file{};            // PEM; empty: the system's
    std::string ca_directory{};       // hashed; empty: the system's, if it has no file
    std::string user_agent = "nerofs";
    bool verify = true;                    // certificates and the names in them
    bool allow_plain = false;              // http:// to hosts other than this machine
    bool proxies_from_environment = true;  // http_proxy, https_proxy, all_proxy, no_proxy; never for this machine
    std::chrono::milliseconds connect_timeout{10'000};  // name, TCP and TLS
    const char* thread_name = "nerofs-http";            // at most 15 characters
};

// One libcurl multi handle and the thread that drives it. Connections are kept and used again; TLS 1.2 or later.
//
// Threads: start, at and cancel may be called from any thread, callbacks included; they don't block. Completions and
// sinks run on the client's thread, one at a time; while one of them blocks, every transfer stands still.
class client {
  public:
    // Names a request or a timer; never used twice.
    using id = std::uint64_t;
    using timer = std::function<void(status)>;

    // Kind retryable if the system has no room for a thread or its sockets.
    static result<std::unique_ptr<client>> make(client_options options = {});

    // Ends everything that is under way with kind cancelled, calls the completions, and returns when the last is done.
    // Not on the client's own thread. What a completion starts during this fails with kind cancelled, too: don't start
    // anew when something was cancelled.
    ~client();

    // `done` is called exactly once, always on the client's thread and never from within start.
    id start(request what, completion done);

    // Calls `on_time` once on the client's thread: at `when`, or earlier with kind cancelled.
    id at(time_point when, timer on_time);

    // The completion of a request or timer that isn't over is called soon with kind cancelled. A sink may still be
    // called until then. An id that is over is ignored.
    void cancel(id which);

    bool on_thread() const;
    const client_options& options() const;

    client(const client&) = delete;
    client& operator=(const client&) = delete;

  private:
    class loop;
    explicit client(std::unique_ptr<loop> l);
    std::unique_ptr<loop> loop_;
};

}  // namespace nerofs::http
