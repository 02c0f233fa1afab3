// The parsers of header values. The first byte says which; the rest is the value. What they return has to keep the
// bounds that their callers rely on, and what can be written again has to be read the same.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "http/challenge.h"
#include "http/fields.h"
#include "require.h"

namespace {

using namespace nerofs::http;
using namespace nerofs::fuzz;

void check_content_range(std::string_view value) {
    const auto range = parse_content_range(value);
    if (!range) return;
    require(range->part || range->total);
    std::string again = "bytes ";
    if (range->part) {
        require(range->part->first <= range->part->last);
        require(!range->total || range->part->last < *range->total);
        again += std::to_string(range->part->first) + "-" + std::to_string(range->part->last);
    } else {
        again += "*";
    }
    again += "/" + (range->total ? std::to_string(*range->total) : "*");
    require(parse_content_range(again) == range);
}

void check_challenges(std::string_view value) {
    const auto all = parse_challenges(value);
    require(all.size() <= 16);
    for (const challenge& c : all) {
        require(!c.scheme.empty());
        require(c.parameters.size() <= 16);
        require(c.token68.empty() || c.parameters.empty());
        for (const field& p : c.parameters)
            for (const char byte : p.value) require(static_cast<unsigned char>(byte) >= 0x20 || byte == '\t');
    }
    // Once more, written plainly.
    std::string again;
    for (const challenge& c : all) {
        again += (again.empty() ? "" : ", ") + c.scheme;
        if (!c.token68.empty()) again += " " + c.token68;
        for (const field& p : c.parameters) {
            again += (&p == c.parameters.data() ? " " : ", ") + p.name + "=\"";
            for (const char byte : p.value)
                again += byte == '"' || byte == '\\' ? std::string{'\\', byte} : std::string{byte};
            again += '"';
        }
    }
    const auto second = parse_challenges(again);
    require(second.size() == all.size());
    for (std::size_t i = 0; i < all.size(); ++i) {
        require(second[i].scheme == all[i].scheme && second[i].token68 == all[i].token68);
        require(second[i].parameters.size() == all[i].parameters.size());
        for (std::size_t k = 0; k < all[i].parameters.size(); ++k)
            require(second[i].parameters[k].value == all[i].parameters[k].value);
    }
}

void check_retry_after(std::string_view value) {
    const std::chrono::system_clock::time_point now{std::chrono::seconds(784903526)};
    const auto wait = parse_retry_after(value, now);
    require(!wait || (wait->count() >= 0 && *wait <= std::chrono::hours(24)));
    (void)parse_http_date(value);
}

void check_link(std::string_view value) {
    const auto links = parse_link(value);
    require(links.size() <= 32);
    for (const link& l : links) require(l.target.find('>') == std::string::npos);
}

void check_etag(std::string_view value) {
    const std::string tag = strong_etag(value);
    require(tag.empty() || (tag.front() == '"' && tag.back() == '"' && tag.size() >= 2));
    require(tag.empty() || strong_etag(tag) == tag);
}

void check_line(std::string_view value) {
    const auto f = parse_field_line(value);
    if (!f) return;
    const auto again = parse_field_line(f->name + ": " + f->value + "\r\n");
    require(again && again->name == f->name && again->value == f->value);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size == 0) return 0;
    const std::string_view value(reinterpret_cast<const char*>(data) + 1, size - 1);
    switch (*data) {
        case 'r':
            check_content_range(value);
            break;
        case 'c':
            check_challenges(value);
            break;
        case 'a':
            check_retry_after(value);
            break;
        case 'l':
            check_link(value);
            break;
        case 'e':
            check_etag(value);
            break;
        case 'f':
            check_line(value);
            break;
        default:
            break;
    }
    return 0;
}
