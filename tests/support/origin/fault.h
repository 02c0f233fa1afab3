// What the origin does wrong, and when.
#pragma once

#include <cstdint>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <vector>

namespace nerofs::test {

enum class fault_kind : std::uint8_t {
    // Answers to a range that aren't what was asked for.
    whole_answer,      // 200 and everything
    shifted_range,     // the bytes one further on, and said so
    lied_range,        // Content-Range as asked for one byte less at the end, the body as asked for
    no_content_range,  // 206 without
    two_content_ranges,
    star_total,     // bytes a-b/*
    wrong_total,    // one more than it is
    multipart,      // multipart/byteranges
    range_refused,  // 416
    // Bodies that don't end where they should. `amount`: bytes of the body.
    short_body,     // the connection ends after `amount`; Content-Length said more
    short_length,   // Content-Length and body are `amount` long
    long_body,      // Content-Length and body are longer by `amount`
    long_chunks,    // chunked, and longer by `amount`
    empty_body,     // Content-Length: 0
    stall,          // nothing more after `amount`, until the client leaves
    reset,          // RST after `amount`
    broken_chunks,  // chunked; ends after `amount` without the last chunk
    // Answers that aren't there.
    drop,             // the connection ends without an answer
    silence,          // no answer, until the client leaves
    garbage,          // what isn't HTTP
    huge_head,        // fields without end
    status,           // `amount`, with `retry_after`
    slow_head,        // the head comes after `amount` ms
    slow_first_byte,  // the body comes `amount` ms after the head
    // Other content.
    changed_etag,
    weak_etag,
    no_etag,
    gzip,         // Content-Encoding: gzip
    wrong_bytes,  // the lowest bit of each byte is flipped
    // Unusual, but right.
    chunked,
    interim,  // 103 in front of the answer
    close,    // Connection: close, and so it is
};

struct fault {
    fault_kind kind;
    std::uint64_t amount = 0;
    std::string path_part{};  // only requests whose path contains it
    std::uint64_t skip = 0;   // so many of them pass first
    std::uint64_t times = 1;  // then so many are hit (by chance)
    double probability = 1;
    std::string retry_after{};  // of status
    std::string location{};     // of status
};

constexpr std::uint64_t always = UINT64_MAX;

// "KIND[=AMOUNT][,path=TEXT][,skip=N][,times=N|always][,chance=0..1][,retry-after=TEXT][,location=TEXT]"; the kinds are
// written as above.
std::optional<fault> parse_fault(std::string_view text);

// The faults of one origin. Not for several threads at once.
class fault_list {
  public:
    explicit fault_list(std::uint64_t seed) : random_(seed) {}
    void add(fault f) { entries_.push_back({std::move(f), 0, 0}); }
    void clear() { entries_.clear(); }
    // Those that hit a request for this path; counts it.
    std::vector<fault> take(std::string_view path);

  private:
    struct entry {
        fault what;
        std::uint64_t seen;
        std::uint64_t hit;
    };
    std::vector<entry> entries_;
    std::mt19937_64 random_;
};

}  // namespace nerofs::test
