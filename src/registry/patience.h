// How long a caller waits for a registry, and what makes it stop earlier.
#pragma once

#include <stop_token>

#include "http/request.h"

namespace nerofs::registry {

struct patience {
    http::time_point deadline;
    std::stop_token stop{};  // its request ends the wait with kind cancelled
};

}  // namespace nerofs::registry
