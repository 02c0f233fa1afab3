#include "cli/option_list.h"

#include <fmt/format.h>

#include <cstddef>

#include "cli/text.h"

namespace nerofs::cli {
namespace {

// Where the first option of `list` ends, and where its '=' is (npos: none).
struct extent {
    std::size_t end;
    std::size_t equals;
    bool quote_open;
};

extent first_option(std::string_view list) {
    extent found{0, std::string_view::npos, false};
    for (; found.end < list.size(); ++found.end) {
        const char c = list[found.end];
        const bool escaped = found.end > 0 && list[found.end - 1] == '\\';
        if (c == '"' && !escaped) found.quote_open = !found.quote_open;
        if (found.quote_open) continue;
        if (c == '=' && found.equals == std::string_view::npos) found.equals = found.end;
        if (c == ',' && !escaped) break;
    }
    return found;
}

}  // namespace

result<std::vector<list_item>> split_option_list(std::string_view list) {
    if (list.find('\0') != std::string_view::npos) return fail(error_kind::usage, "option list: holds a NUL byte");
    std::vector<list_item> items;
    while (!list.empty()) {
        if (list[0] == ',') {
            list.remove_prefix(1);
            continue;
        }
        const extent option = first_option(list);
        list_item item;
        item.whole = list.substr(0, option.end);
        item.name = item.whole.substr(0, option.equals);
        if (option.equals != std::string_view::npos) item.value = item.whole.substr(option.equals + 1);
        if (option.quote_open) {
            if (!item.value) return fail(error_kind::usage, "option list: a quote is not closed");
            return fail(error_kind::usage, fmt::format("option {}: a quote is not closed", quoted(item.name)));
        }
        if (item.name.empty()) return fail(error_kind::usage, "option list: '=' without a name before it");
        items.push_back(item);
        list.remove_prefix(option.end);
    }
    return items;
}

std::string unquote(std::string_view value) {
    if (value.size() >= 2 && value.front() == '"' && value.back() == '"') value = value.substr(1, value.size() - 2);
    std::string out;
    for (std::size_t i = 0; i < value.size(); ++i) {
        const bool escape = value[i] == '\\' && i + 1 < value.size() && (value[i + 1] == ',' || value[i + 1] == '"');
        if (escape) ++i;
        out += value[i];
    }
    return out;
}

}  // namespace nerofs::cli
