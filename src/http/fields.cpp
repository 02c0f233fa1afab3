#include "http/fields.h"

#include <algorithm>
#include <array>
#include <charconv>

#include "http/scanner.h"

namespace nerofs::http {
namespace {

char lower(char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

std::string_view trimmed(std::string_view text) {
    while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
    while (!text.empty() && (text.back() == ' ' || text.back() == '\t' || text.back() == '\r' || text.back() == '\n'))
        text.remove_suffix(1);
    return text;
}

}  // namespace

bool equal_ignoring_case(std::string_view a, std::string_view b) {
    return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](char x, char y) { return lower(x) == lower(y); });
}

const std::string* fields::find(std::string_view name) const {
    for (const field& f : all_)
        if (equal_ignoring_case(f.name, name)) return &f.value;
    return nullptr;
}

std::vector<std::string> fields::find_all(std::string_view name) const {
    std::vector<std::string> found;
    for (const field& f : all_)
        if (equal_ignoring_case(f.name, name)) found.push_back(f.value);
    return found;
}

std::size_t fields::count(std::string_view name) const {
    return static_cast<std::size_t>(
        std::count_if(all_.begin(), all_.end(), [&](const field& f) { return equal_ignoring_case(f.name, name); }));
}

std::optional<field> parse_field_line(std::string_view line) {
    scanner in(line);
    const std::string_view name = in.token();
    if (name.empty() || !in.take(':')) return std::nullopt;
    return field{std::string(name), std::string(trimmed(in.rest()))};
}

std::optional<std::uint64_t> parse_number(std::string_view value) {
    std::uint64_t number = 0;
    const char* const end = value.data() + value.size();
    const auto [at, error] = std::from_chars(value.data(), end, number);
    if (value.empty() || error != std::errc() || at != end) return std::nullopt;
    return number;
}

std::optional<content_range> parse_content_range(std::string_view value) {
    scanner in(trimmed(value));
    if (!equal_ignoring_case(in.token(), "bytes") || in.peek() != ' ') return std::nullopt;
    in.blanks();
    const auto digits = [&] { return parse_number(in.take_while([](char c) { return c >= '0' && c <= '9'; })); };

    content_range range;
    if (!in.take('*')) {
        const auto first = digits();
        if (!first || !in.take('-')) return std::nullopt;
        const auto last = digits();
        if (!last || *first > *last) return std::nullopt;
        range.part = content_range::span{*first, *last};
    }
    if (!in.take('/')) return std::nullopt;
    if (!in.take('*')) {
        range.total = digits();
        if (!range.total || (range.part && range.part->last >= *range.total)) return std::nullopt;
    } else if (!range.part) {
        return std::nullopt;
    }
    if (!in.done()) return std::nullopt;
    return range;
}

std::string strong_etag(std::string_view value) {
    value = trimmed(value);
    if (value.size() < 2 || value.size() > 1024 || value.front() != '"' || value.back() != '"') return {};
    const std::string_view inside = value.substr(1, value.size() - 2);
    const bool valid = std::all_of(inside.begin(), inside.end(), [](char c) {
        return c != '"' && c != 0x7f && static_cast<unsigned char>(c) > 0x20;
    });
    return valid ? std::string(value) : std::string();
}

std::vector<link> parse_link(std::string_view value) {
    constexpr std::size_t most_links = 32;
    std::vector<link> links;
    scanner in(value);
    while (links.size() < most_links) {
        in.take_while([](char c) { return c == ' ' || c == '\t' || c == ','; });
        if (!in.take('<')) break;
        link l;
        l.target = in.take_while([](char c) { return c != '>'; });
        if (!in.take('>')) break;
        for (in.blanks(); in.take(';'); in.blanks()) {
            in.blanks();
            const std::string_view name = in.token();
            in.blanks();
            std::string text;
            if (in.take('=')) {
                in.blanks();
                if (in.peek() == '"') {
                    auto quoted = in.quoted();
                    if (!quoted) return links;
                    text = std::move(*quoted);
                } else {
                    text = in.take_while([](char c) { return c != ';' && c != ',' && c != ' ' && c != '\t'; });
                }
            }
            if (equal_ignoring_case(name, "rel") && l.rel.empty()) {
                std::transform(text.begin(), text.end(), text.begin(), lower);
                l.rel = std::move(text);
            }
        }
        links.push_back(std::move(l));
        if (in.peek() != ',') break;
    }
    return links;
}

}  // namespace nerofs::http
