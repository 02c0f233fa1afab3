// Retry-After and the dates of HTTP (RFC 9110 section 5.6.7). Not strptime: it follows the locale.
#include <algorithm>
#include <array>
#include <charconv>

#include "http/fields.h"
#include "http/scanner.h"

namespace nerofs::http {
namespace {

using std::chrono::system_clock;

constexpr std::chrono::seconds most_retry_after = std::chrono::hours(24);

class date_reader {
  public:
    explicit date_reader(std::string_view text) : in_(text) {}

    bool literal(std::string_view text) {
        if (!in_.rest().starts_with(text)) return false;
        in_.rewind(in_.rest().substr(text.size()));
        return true;
    }
    std::optional<int> number(std::size_t digits) {
        const std::string_view text = in_.rest().substr(0, digits);
        int value = 0;
        const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
        if (text.size() != digits || error != std::errc() || end != text.data() + digits || text.front() == '-')
            return std::nullopt;
        in_.rewind(in_.rest().substr(digits));
        return value;
    }
    std::optional<unsigned> month() {
        static constexpr std::array<std::string_view, 12> names{"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                                                "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
        for (unsigned i = 0; i < names.size(); ++i)
            if (literal(names[i])) return i + 1;
        return std::nullopt;
    }
    std::optional<std::chrono::seconds> time() {
        const auto h = number(2);
        if (!h || !literal(":")) return std::nullopt;
        const auto m = number(2);
        if (!m || !literal(":")) return std::nullopt;
        const auto s = number(2);
        if (!s || *h > 23 || *m > 59 || *s > 60) return std::nullopt;  // 60: a leap second
        return std::chrono::hours(*h) + std::chrono::minutes(*m) + std::chrono::seconds(*s);
    }
    std::string_view word() {
        return in_.take_while([](char c) { return c >= 'A' && c <= 'z'; });
    }
    bool done() const { return in_.done(); }

  private:
    scanner in_;
};

std::optional<std::chrono::sys_seconds> joined(int year, unsigned month, int day, std::chrono::seconds time) {
    const std::chrono::year_month_day date{std::chrono::year(year), std::chrono::month(month),
                                           std::chrono::day(static_cast<unsigned>(day))};
    if (!date.ok() || year < 1900) return std::nullopt;
    return std::chrono::sys_days(date) + time;
}

// Sun, 06 Nov 1994 08:49:37 GMT
std::optional<std::chrono::sys_seconds> fixed_form(date_reader in) {
    const auto day = in.number(2);
    if (!day || !in.literal(" ")) return std::nullopt;
    const auto month = in.month();
    if (!month || !in.literal(" ")) return std::nullopt;
    const auto year = in.number(4);
    if (!year || !in.literal(" ")) return std::nullopt;
    const auto time = in.time();
    if (!time || !in.literal(" GMT") || !in.done()) return std::nullopt;
    return joined(*year, *month, *day, *time);
}

// Sunday, 06-Nov-94 08:49:37 GMT
std::optional<std::chrono::sys_seconds> rfc850_form(date_reader in) {
    const auto day = in.number(2);
    if (!day || !in.literal("-")) return std::nullopt;
    const auto month = in.month();
    if (!month || !in.literal("-")) return std::nullopt;
    const auto year = in.number(2);
    if (!year || !in.literal(" ")) return std::nullopt;
    const auto time = in.time();
    if (!time || !in.literal(" GMT") || !in.done()) return std::nullopt;
    return joined(*year + (*year < 70 ? 2000 : 1900), *month, *day, *time);
}

// Sun Nov  6 08:49:37 1994
std::optional<std::chrono::sys_seconds> asctime_form(date_reader in) {
    const auto month = in.month();
    if (!month || !in.literal(" ")) return std::nullopt;
    const auto day = in.literal(" ") ? in.number(1) : in.number(2);
    if (!day || !in.literal(" ")) return std::nullopt;
    const auto time = in.time();
    if (!time || !in.literal(" ")) return std::nullopt;
    const auto year = in.number(4);
    if (!year || !in.done()) return std::nullopt;
    return joined(*year, *month, *day, *time);
}

}  // namespace

std::optional<std::chrono::sys_seconds> parse_http_date(std::string_view value) {
    date_reader in(value);
    const std::string_view day_name = in.word();
    if (day_name.size() < 3) return std::nullopt;
    if (in.literal(", ")) {
        if (const auto time = fixed_form(in)) return time;
        return rfc850_form(in);
    }
    return in.literal(" ") ? asctime_form(in) : std::nullopt;
}

std::optional<std::chrono::seconds> parse_retry_after(std::string_view value, system_clock::time_point now) {
    if (!value.empty() && std::all_of(value.begin(), value.end(), [](char c) { return c >= '0' && c <= '9'; })) {
        const auto seconds = parse_number(value);
        const auto most = static_cast<std::uint64_t>(most_retry_after.count());
        return std::chrono::seconds(seconds ? std::min(*seconds, most) : most);
    }
    const auto when = parse_http_date(value);
    if (!when) return std::nullopt;
    // Rounded down, so that the wait is rounded up.
    const auto left = *when - std::chrono::floor<std::chrono::seconds>(now);
    return std::clamp(left, std::chrono::seconds(0), most_retry_after);
}

}  // namespace nerofs::http
