// Header fields and the values of those that we act on. Pure functions of hostile text: no I/O, bounded output.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace nerofs::http {

struct field {
    std::string name;
    std::string value;
};

// The fields of a message in their order. Names are compared without regard to case.
class fields {
  public:
    void add(std::string_view name, std::string_view value) { all_.push_back({std::string(name), std::string(value)}); }
    // The first of that name, or nullptr.
    const std::string* find(std::string_view name) const;
    std::vector<std::string> find_all(std::string_view name) const;
    std::size_t count(std::string_view name) const;
    const std::vector<field>& all() const { return all_; }
    void clear() { all_.clear(); }

  private:
    std::vector<field> all_;
};

bool equal_ignoring_case(std::string_view a, std::string_view b);

// "Name: value" as a line of a header, its end stripped or not. nullopt for what is none (a status line, a folded
// line).
std::optional<field> parse_field_line(std::string_view line);

// RFC 9110 section 14.4. One of the three forms: "bytes 0-99/1000", "bytes 0-99/*", "bytes */1000".
struct content_range {
    struct span {
        std::uint64_t first = 0;
        std::uint64_t last = 0;  // inclusive
        friend bool operator==(const span&, const span&) = default;
    };
    std::optional<span> part;            // first <= last, and last < total where that is known
    std::optional<std::uint64_t> total;  // nullopt: '*'
    friend bool operator==(const content_range&, const content_range&) = default;
};
std::optional<content_range> parse_content_range(std::string_view value);

// A decimal number and nothing else; nullopt beyond 64 bits. Content-Length.
std::optional<std::uint64_t> parse_number(std::string_view value);

// An entity tag that proves bytes to be the same: with its quotes; empty for weak ones (W/"x") and for what is none.
std::string strong_etag(std::string_view value);

// RFC 9110 section 10.2.3: seconds or a date in any of the three forms, as the time from `now` on; a date that has
// passed is 0. At most a day.
std::optional<std::chrono::seconds> parse_retry_after(std::string_view value,
                                                      std::chrono::system_clock::time_point now);
// In seconds: the system clock's nanoseconds end in 2262.
std::optional<std::chrono::sys_seconds> parse_http_date(std::string_view value);

// RFC 8288: <target>; rel="next". At most 32 links; reading stops at the first that is malformed.
struct link {
    std::string target;  // as written; may be relative
    std::string rel;     // in lower case, may hold several words
    friend bool operator==(const link&, const link&) = default;
};
std::vector<link> parse_link(std::string_view value);

}  // namespace nerofs::http
