#include "http/challenge.h"

#include <algorithm>
#include <optional>

#include "http/scanner.h"

namespace nerofs::http {
namespace {

constexpr std::size_t most_challenges = 16;
constexpr std::size_t most_parameters = 16;

std::string lowered(std::string_view text) {
    std::string out(text);
    std::transform(out.begin(), out.end(), out.begin(),
                   [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
    return out;
}

bool is_token68_char(char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' || c == '.' ||
           c == '_' || c == '~' || c == '+' || c == '/';
}

void skip_commas(scanner& in) {
    in.take_while([](char c) { return c == ' ' || c == '\t' || c == ','; });
}

// name=value or name="value". nullopt, and nothing taken, if the next isn't one.
std::optional<field> parameter(scanner& in) {
    const std::string_view start = in.rest();
    const std::string_view name = in.token();
    in.blanks();
    if (!name.empty() && in.take('=')) {
        in.blanks();
        if (in.peek() == '"') {
            if (auto value = in.quoted()) return field{lowered(name), std::move(*value)};
        } else if (const std::string_view value = in.token(); !value.empty()) {
            return field{lowered(name), std::string(value)};
        }
    }
    in.rewind(start);
    return std::nullopt;
}

// "Negotiate YII=": base64 up to the next comma. Looked for only where no parameter is.
std::optional<std::string> token68(scanner& in) {
    const std::string_view start = in.rest();
    in.take_while(is_token68_char);
    in.take_while([](char c) { return c == '='; });
    const std::string_view text = start.substr(0, start.size() - in.rest().size());
    in.blanks();
    if (!text.empty() && (in.done() || in.peek() == ',')) return std::string(text);
    in.rewind(start);
    return std::nullopt;
}

}  // namespace

std::string_view challenge::parameter(std::string_view name) const {
    for (const field& p : parameters)
        if (equal_ignoring_case(p.name, name)) return p.value;
    return {};
}

std::vector<challenge> parse_challenges(std::string_view value) {
    std::vector<challenge> found;
    scanner in(value);
    while (found.size() < most_challenges) {
        skip_commas(in);
        const std::string_view scheme = in.token();
        if (scheme.empty()) break;
        challenge c{.scheme = lowered(scheme), .token68 = {}, .parameters = {}};
        if (!in.done() && in.peek() != ' ' && in.peek() != '\t' && in.peek() != ',') break;
        in.blanks();
        if (auto first = parameter(in)) {
            c.parameters.push_back(std::move(*first));
            // A comma is followed by a parameter of this challenge or by the next scheme; only the '=' tells them
            // apart.
            while (c.parameters.size() < most_parameters) {
                in.blanks();
                if (in.peek() != ',') break;
                const std::string_view comma = in.rest();
                skip_commas(in);
                auto next = parameter(in);
                if (!next) {
                    in.rewind(comma);
                    break;
                }
                c.parameters.push_back(std::move(*next));
            }
        } else if (auto token = token68(in)) {
            c.token68 = std::move(*token);
        }
        found.push_back(std::move(c));
        in.blanks();
        if (in.peek() != ',') break;
    }
    return found;
}

}  // namespace nerofs::http
