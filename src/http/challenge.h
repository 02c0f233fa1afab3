// WWW-Authenticate (RFC 9110 section 11.6.1): what a server wants to see before it answers.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "http/fields.h"

namespace nerofs::http {

struct challenge {
    std::string scheme;             // in lower case: "basic", "bearer"
    std::string token68;            // of schemes that carry one instead of parameters
    std::vector<field> parameters;  // names in lower case, values without quotes

    // The value of a parameter; empty if there is none.
    std::string_view parameter(std::string_view name) const;
};

// All challenges of one header value; a server may send several values, too. Reading stops at the first mistake, and
// what was whole until there is returned. At most 16 challenges with 16 parameters each.
std::vector<challenge> parse_challenges(std::string_view value);

}  // namespace nerofs::http
