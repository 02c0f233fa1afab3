// Lists of mount options, "ro,key=value,key=\"a,b\"", taken apart by the rules of util-linux: mount(8) has parsed the
// same list before it hands it to a helper, and both must agree on where an option ends.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace nerofs::cli {

struct list_item {
    std::string_view whole;                 // as written, quotes and backslashes included
    std::string_view name;                  // up to the first '='
    std::optional<std::string_view> value;  // as written, behind the '='; empty optional without one
};

// The views point into `list`. A comma ends an option unless it lies between double quotes or behind a backslash; a
// quote behind a backslash is none. Empty options (",,") are skipped. Errors: usage, naming the option but never its
// value.
result<std::vector<list_item>> split_option_list(std::string_view list);

// The value that was meant: quotes around the whole of it are taken off, \, is a comma and \" a quote. Any other
// backslash stands for itself.
std::string unquote(std::string_view value);

}  // namespace nerofs::cli
