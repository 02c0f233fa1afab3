#include "oci/token.h"

#include <algorithm>
#include <charconv>
#include <optional>
#include <string_view>

#include "oci/json.h"
#include "oci/text.h"

namespace nerofs::oci {
namespace {

using std::chrono::seconds;

// RFC 3339, "2024-05-01T10:20:30.123456Z" or with +02:00; fractions of seconds are dropped. Whole seconds, since the
// clock's nanoseconds end in the year 2262.
std::optional<std::chrono::sys_seconds> parse_time(std::string_view text) {
    const auto number = [&](std::size_t at, std::size_t digits) -> int {
        int value = 0;
        if (at + digits > text.size() || !only(text.substr(at, digits), is_digit)) return -1;
        std::from_chars(text.data() + at, text.data() + at + digits, value);
        return value;
    };
    if (text.size() < 20 || text[4] != '-' || text[7] != '-' ||
        (text[10] != 'T' && text[10] != 't' && text[10] != ' ') || text[13] != ':' || text[16] != ':')
        return std::nullopt;
    using namespace std::chrono;
    const int parts[] = {number(0, 4), number(5, 2), number(8, 2), number(11, 2), number(14, 2), number(17, 2)};
    if (std::any_of(std::begin(parts), std::end(parts), [](int part) { return part < 0; })) return std::nullopt;
    const year_month_day day{year{parts[0]}, month{static_cast<unsigned>(parts[1])},
                             std::chrono::day{static_cast<unsigned>(parts[2])}};
    if (!day.ok() || parts[3] > 23 || parts[4] > 59 || parts[5] > 60) return std::nullopt;
    std::size_t at = 19;
    if (text[at] == '.') {
        ++at;
        while (at < text.size() && is_digit(text[at])) ++at;
    }
    seconds offset{0};
    if (at >= text.size()) return std::nullopt;
    if (text[at] == '+' || text[at] == '-') {
        const int hour = number(at + 1, 2);
        const int minute = number(at + 4, 2);
        if (hour < 0 || hour > 23 || minute < 0 || minute > 59 || text.size() != at + 6 || text[at + 3] != ':')
            return std::nullopt;
        offset = (text[at] == '-' ? -1 : 1) * (hours(hour) + minutes(minute));
    } else if ((text[at] != 'Z' && text[at] != 'z') || text.size() != at + 1) {
        return std::nullopt;
    }
    return sys_days(day) + hours(parts[3]) + minutes(parts[4]) + seconds(parts[5]) - offset;
}

// A member that is a usable token. What can't be part of a header isn't one.
const json* token_in(const json& answer, std::string_view name) {
    const json* const value = answer.find(name);
    return value != nullptr && value->is(json::kind::text) && !value->text().empty() ? value : nullptr;
}

}  // namespace

result<bearer_token> parse_token(std::span<const std::byte> answer, const token_times& times) {
    NEROFS_TRY(const json whole,
               parse_json(answer, "token service's answer", {.bytes = token_answer_cap, .depth = 8, .values = 256}));
    const json* value = token_in(whole, "token");
    if (value == nullptr) value = token_in(whole, "access_token");
    if (value == nullptr) return fail(error_kind::auth, "token service's answer: holds no token");
    if (value->text().size() > longest_token || !only(value->text(), is_visible))
        return fail(error_kind::corrupt, "token service's answer: the token can't be sent in a header");

    seconds lifetime = default_lifetime;
    if (const json* const expires_in = whole.find("expires_in"))
        if (const auto number = expires_in->whole_number(); number && *number > 0)
            lifetime = seconds(std::min(*number, static_cast<std::uint64_t>(longest_lifetime.count())));
    if (const json* const issued_at = whole.find("issued_at")) {
        if (const auto issued = parse_time(issued_at->text())) {
            const auto age = std::chrono::floor<seconds>(times.now) - *issued;
            // A clock that is minutes fast must not make every token look as good as over.
            if (age > seconds(0) && age <= lifetime / 2) lifetime -= age;
        }
    }
    const auto slack = std::min<std::chrono::milliseconds>(std::chrono::milliseconds(lifetime) / 4, most_slack);
    return bearer_token{secret(value->text()), times.asked + lifetime - slack, times.asked + lifetime};
}

bool is_expired(const bearer_token& token, std::chrono::steady_clock::time_point now) {
    return now >= token.expires_at;
}

bool needs_refresh(const bearer_token& token, std::chrono::steady_clock::time_point now) {
    return now >= token.refresh_at;
}

}  // namespace nerofs::oci
