// A web server and registry for tests, in this process, on loopback: it does what real ones do, and on demand what
// broken, overloaded and hostile ones do. It remembers every request.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "support/origin/content.h"
#include "support/origin/fault.h"

namespace nerofs::test {

struct origin_options {
    std::uint16_t port = 0;               // 0: any that is free
    std::size_t most_connections = 1024;  // one more is closed at once
    std::uint64_t seed = 1;               // of the faults that come by chance
};

// How slow the server is. Zero: not at all.
struct origin_shape {
    std::chrono::milliseconds delay{0};         // before each answer: the round trip
    std::chrono::milliseconds accept_delay{0};  // before the first request of a connection is read
    std::chrono::milliseconds body_delay{0};    // between the head and the first byte of the body
    std::uint64_t connection_bytes_per_second = 0;
    std::uint64_t total_bytes_per_second = 0;
};

// Who may ask. The user and the password are wanted by the token service of `bearer`, too, unless they are empty.
struct origin_auth {
    enum class kind : std::uint8_t { none, basic, bearer } scheme = kind::none;
    std::string user{};
    std::string password{};
    std::chrono::milliseconds token_life{300'000};
    std::string service = "test-registry";
    std::string identity_token{};  // not empty: the token service wants this, in a POST, and no password
    std::string challenge{};       // WWW-Authenticate of a 401, instead of the one that leads to the own token service
};

// Blobs are answered with a redirect to signed URLs that end.
struct origin_redirects {
    bool on = false;
    int status = 307;
    bool other_port = true;  // the storage's own, so that it is another origin; else only another path
    std::chrono::milliseconds life{600'000};
    int expired_status = 403;
};

struct request_record {
    std::string method;
    std::string target;  // as it was sent
    std::string path;    // without the query
    std::vector<std::pair<std::string, std::string>> headers;
    std::string body;
    std::optional<std::pair<std::uint64_t, std::uint64_t>> range;  // both included
    int status = 0;                                                // 0: no answer was sent
    std::uint64_t body_bytes = 0;                                  // sent
    bool storage = false;                                          // came to the storage's port
    std::uint64_t connection = 0;                                  // which one; from 1
    std::chrono::steady_clock::time_point at;
    std::string header(std::string_view name) const;  // lower case name; empty if there was none
};

// Threads: everything may be called from any thread; the server has one thread that accepts and one a connection.
class origin {
  public:
    explicit origin(origin_options options = {});
    // Ends all connections at once.
    ~origin();

    std::uint16_t port() const;
    std::uint16_t storage_port() const;
    // "http://127.0.0.1:port" and the path.
    std::string url(std::string_view path = "") const;
    std::string host() const;  // 127.0.0.1:port

    // What is at a path. Replaces what was there.
    void add_file(const std::string& path, content bytes, std::string type = "application/octet-stream");
    // Into a repository of the registry; both return the digest. A manifest without tag is found by digest only.
    std::string add_blob(const std::string& repository, content bytes);
    std::string add_manifest(const std::string& repository, const std::string& tag, const std::string& media_type,
                             std::string bytes);

    // Whether the registry lists the referrers of a manifest: those that were pushed since.
    void set_referrers(bool on);

    void set_shape(origin_shape shape);
    void set_auth(origin_auth auth);
    void set_redirects(origin_redirects redirects);
    void add_fault(fault f);
    void clear_faults();

    // Makes the clock that ends tokens and signatures go ahead.
    void pass_time(std::chrono::milliseconds time);

    enum class away : std::uint8_t { refuse, drop };
    // From now on connections are refused, or accepted and closed; those that are there are closed.
    void go_away(away how);
    void come_back();

    std::vector<request_record> log() const;
    // How many requests there were whose path contains the text.
    std::size_t count(std::string_view path_part = "") const;
    std::size_t connections() const;  // accepted since the beginning
    void clear_log();
    // Called for each request when it is over, on the thread of its connection.
    void on_request(std::function<void(const request_record&)> listener);

    origin(const origin&) = delete;
    origin& operator=(const origin&) = delete;

  private:
    struct state;
    std::unique_ptr<state> state_;
};

}  // namespace nerofs::test
