// A blob behind a URL, read in ranges: redirects, credentials and failures are dealt with here.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "base/result.h"
#include "http/client.h"
#include "http/request.h"
#include "http/retry.h"
#include "source/authorizer.h"
#include "source/byte_source.h"

namespace nerofs::source {

struct range_source_options {
    http::retry_policy retry{};
    http::progress_limit progress{};
    unsigned most_redirects = 5;
    // So many answers in a row that aren't what was asked for, or refusals of a fresh URL or fresh credentials, end a
    // read. Failures of kind retryable don't: they are tried again until the deadline.
    unsigned most_refusals = 4;
    // After so many failures in a row, of any read, the server is taken to be away: one read goes on asking, the others
    // wait for it.
    unsigned away_after = 3;
    // Refuse answers whose ETag is another than the probe's. For what is checked against a digest it may be off.
    bool pin_etag = true;
    // Numbers in [0, 1) for the spread of retries; called on the client's thread. Empty: random ones.
    std::function<double()> random{};
};

// What the first answer tells.
struct blob_facts {
    std::uint64_t size = 0;
    std::string etag;    // strong, or empty
    bool ranges = true;  // false: the server gives only the whole (and `size` is 0 if it didn't tell)
    std::string head;    // the first bytes, as many as were asked for or there are
};

struct range_source_stats {
    std::uint64_t requests = 0;
    std::uint64_t bytes = 0;      // delivered
    std::uint64_t retries = 0;    // requests that went wrong and were asked again
    std::uint64_t redirects = 0;  // followed
    std::uint64_t refreshes = 0;  // the remembered URL or the credentials were given up
    std::chrono::microseconds latency{
        0};                              // from request to first byte on a warm connection, moving average; 0: unknown
    std::uint64_t bytes_per_second = 0;  // of one connection, moving average; 0: unknown
    std::string last_failure;            // the latest, without secrets; empty: none so far
};

// Ranges are asked for at the URL that the last redirect led to, which is remembered until it is refused (401, 403,
// 404, 410, another redirect); then one read finds the way anew from the start, and the others wait for it. A body that
// breaks is continued from where it stopped. Credentials go to the origin of the first URL only. A redirect from https
// to plain http is refused unless the client allows that.
//
// Threads: all functions may be called from any thread. Callbacks come on the client's thread.
class range_source final : public byte_source {
  public:
    using probe_completion = std::function<void(result<blob_facts>)>;

    // The client must outlive the source. Without an authorizer nothing is sent and a 401 is an error.
    range_source(http::client& c, http::url from, std::shared_ptr<authorizer> who = nullptr,
                 range_source_options options = {});

    // Ends all reads with kind cancelled and returns when their completions have been called. Not on the client's
    // thread.
    ~range_source() override;

    // Fetches the first `keep` bytes (at least 1) and learns size and ETag, against which all later answers are held.
    // An empty blob has size 0 and no error.
    void probe(std::size_t keep, http::time_point deadline, probe_completion done);

    // Sets what a probe would learn: a size from a manifest, for example.
    void set_known(http::known_blob known);

    // Errors: timeout (the deadline; the text says what went wrong last), cancelled, auth, not_found, permanent,
    // corrupt (the answers were wrong, or the blob has changed), usage (beyond the end), the sink's.
    id read(read_request what, completion done) override;
    void cancel(id which) override;

    range_source_stats stats() const;

    range_source(const range_source&) = delete;
    range_source& operator=(const range_source&) = delete;

  private:
    class engine;
    std::shared_ptr<engine> engine_;
};

}  // namespace nerofs::source
