// The origin's sockets and threads. Internal to the origin.
#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <list>
#include <mutex>
#include <thread>
#include <vector>

#include "base/unique_fd.h"
#include "support/origin/message.h"
#include "support/origin/origin.h"

namespace nerofs::test {

// A bandwidth: who wants to send gets told when he may. Any thread.
class throttle {
  public:
    void set(std::uint64_t bytes_per_second) { rate_ = bytes_per_second; }
    std::chrono::steady_clock::time_point reserve(std::uint64_t bytes);

  private:
    std::atomic<std::uint64_t> rate_ = 0;
    std::mutex mutex_;
    std::chrono::steady_clock::time_point free_at_{};
};

class server {
  public:
    using answerer = std::function<http_answer(const http_request&)>;

    // Binds both ports; throws std::system_error.
    explicit server(const origin_options& options);
    ~server() { stop(); }
    void run(answerer answer);
    // Ends all connections and threads at once. For good.
    void stop();

    std::uint16_t port() const { return ports_[0]; }
    std::uint16_t storage_port() const { return ports_[1]; }
    void set_shape(origin_shape shape);
    void add_fault(fault f);
    void clear_faults();
    void go_away(origin::away how);
    void come_back();
    std::vector<request_record> log() const;
    std::size_t connections() const;
    void clear_log();
    void on_request(std::function<void(const request_record&)> listener);

  private:
    enum class presence : std::uint8_t { here, refusing, dropping };
    struct connection {
        unique_fd socket;
        std::uint64_t number = 0;
        bool storage = false;
        bool over = false;
        throttle limit;
        std::jthread thread;  // last: it uses the others
    };

    void accept_loop();
    void accept_one(std::size_t which);
    void remove_ended();
    void serve(connection& c);
    // Each returns false when the connection is at its end.
    bool read_head(connection& c, std::string& buffer, std::string& head);
    bool read_body(connection& c, std::string& buffer, http_request& request);
    bool answer_one(connection& c, const http_request& request);
    bool send_answer(connection& c, const http_request& request, http_answer& a, std::uint64_t& sent);
    bool send_body(connection& c, const http_answer& a, std::uint64_t& sent);
    bool send_all(connection& c, std::string_view bytes, bool more = false);
    bool end_by(connection& c, body_end how);
    // Waits; false if the client or the server leaves before.
    bool wait_until(connection& c, std::chrono::steady_clock::time_point when);
    bool wait_for(connection& c, std::chrono::milliseconds time);

    const origin_options options_;
    answerer answer_;
    unique_fd listeners_[2];
    std::uint16_t ports_[2]{};
    unique_fd wake_;
    throttle total_;

    mutable std::mutex mutex_;
    origin_shape shape_;
    fault_list faults_;
    presence presence_ = presence::here;
    bool stopping_ = false;
    std::uint64_t accepted_ = 0;
    std::vector<request_record> log_;
    std::uint64_t log_begin_ = 0;  // number of the first record in log_
    std::function<void(const request_record&)> listener_;
    std::list<connection> connections_;

    std::jthread acceptor_;
};

}  // namespace nerofs::test
