#include "oci/registry_error.h"

#include <span>

#include "oci/json.h"
#include "oci/text.h"

namespace nerofs::oci {

std::string registry_error_text(std::string_view body) {
    constexpr json_limits limits{.bytes = 16u << 10, .depth = 16, .values = 1024};
    const auto whole = parse_json(std::as_bytes(std::span(body.data(), body.size())), "error", limits);
    if (!whole) return {};
    const auto text_in = [](const json& object, std::string_view name) -> std::string {
        const json* const value = object.find(name);
        return value == nullptr ? std::string() : shown(value->text());
    };
    const json* const errors = whole->find("errors");
    const json& first = errors != nullptr && !errors->items().empty() ? errors->items().front() : *whole;
    std::string text = text_in(first, "code");
    for (const std::string_view name : {"message", "details"}) {
        const std::string more = text_in(first, name);
        if (more.empty() || more == text) continue;
        text += (text.empty() ? "" : ": ") + more;
        break;
    }
    return text;
}

}  // namespace nerofs::oci
