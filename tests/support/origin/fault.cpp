#include "support/origin/fault.h"

#include <array>
#include <charconv>
#include <utility>

namespace nerofs::test {
namespace {

constexpr std::array<std::pair<std::string_view, fault_kind>, 32> names{{
    {"whole_answer", fault_kind::whole_answer},
    {"shifted_range", fault_kind::shifted_range},
    {"lied_range", fault_kind::lied_range},
    {"no_content_range", fault_kind::no_content_range},
    {"two_content_ranges", fault_kind::two_content_ranges},
    {"star_total", fault_kind::star_total},
    {"wrong_total", fault_kind::wrong_total},
    {"multipart", fault_kind::multipart},
    {"range_refused", fault_kind::range_refused},
    {"short_body", fault_kind::short_body},
    {"short_length", fault_kind::short_length},
    {"long_body", fault_kind::long_body},
    {"long_chunks", fault_kind::long_chunks},
    {"empty_body", fault_kind::empty_body},
    {"stall", fault_kind::stall},
    {"reset", fault_kind::reset},
    {"broken_chunks", fault_kind::broken_chunks},
    {"drop", fault_kind::drop},
    {"silence", fault_kind::silence},
    {"garbage", fault_kind::garbage},
    {"huge_head", fault_kind::huge_head},
    {"status", fault_kind::status},
    {"slow_head", fault_kind::slow_head},
    {"slow_first_byte", fault_kind::slow_first_byte},
    {"changed_etag", fault_kind::changed_etag},
    {"weak_etag", fault_kind::weak_etag},
    {"no_etag", fault_kind::no_etag},
    {"gzip", fault_kind::gzip},
    {"wrong_bytes", fault_kind::wrong_bytes},
    {"chunked", fault_kind::chunked},
    {"interim", fault_kind::interim},
    {"close", fault_kind::close},
}};

template <class T>
bool read_number(std::string_view text, T& value) {
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    return error == std::errc() && end == text.data() + text.size();
}

bool read_part(std::string_view part, fault& f) {
    const std::size_t equals = part.find('=');
    if (equals == std::string_view::npos) return false;
    const std::string_view name = part.substr(0, equals);
    const std::string_view value = part.substr(equals + 1);
    if (name == "path") {
        f.path_part = value;
    } else if (name == "retry-after") {
        f.retry_after = value;
    } else if (name == "location") {
        f.location = value;
    } else if (name == "times" && value == "always") {
        f.times = always;
    } else if (name == "times") {
        return read_number(value, f.times);
    } else if (name == "skip") {
        return read_number(value, f.skip);
    } else if (name == "chance") {
        return read_number(value, f.probability);
    } else {
        return false;
    }
    return true;
}

}  // namespace

std::optional<fault> parse_fault(std::string_view text) {
    const std::size_t comma = text.find(',');
    const std::string_view head = text.substr(0, comma);
    const std::size_t equals = head.find('=');
    const std::string_view name = head.substr(0, equals);
    std::optional<fault> found;
    for (const auto& [known, kind] : names) {
        if (known != name) continue;
        found.emplace();
        found->kind = kind;
    }
    if (!found) return std::nullopt;
    if (equals != std::string_view::npos && !read_number(head.substr(equals + 1), found->amount)) return std::nullopt;
    for (std::string_view rest = comma == std::string_view::npos ? "" : text.substr(comma + 1); !rest.empty();) {
        const std::size_t end = rest.find(',');
        if (!read_part(rest.substr(0, end), *found)) return std::nullopt;
        rest = end == std::string_view::npos ? "" : rest.substr(end + 1);
    }
    return found;
}

std::vector<fault> fault_list::take(std::string_view path) {
    std::vector<fault> hit;
    for (entry& e : entries_) {
        if (path.find(e.what.path_part) == std::string_view::npos) continue;
        if (e.seen++ < e.what.skip || e.hit >= e.what.times) continue;
        if (e.what.probability < 1 && std::uniform_real_distribution<>(0, 1)(random_) >= e.what.probability) continue;
        ++e.hit;
        hit.push_back(e.what);
    }
    return hit;
}

}  // namespace nerofs::test
