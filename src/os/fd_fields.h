// Descriptors as fields of a message: whether there is one is in its bytes, the descriptor itself goes beside them.
#pragma once

#include <cstddef>
#include <vector>

#include "base/unique_fd.h"
#include "base/wire.h"

namespace nerofs::os {

inline void put_fd(wire_writer& body, std::vector<fd_ref>& fds, const unique_fd& fd) {
    body.put(bool(fd));
    if (fd) fds.push_back(fd);
}

// False if there should be one and isn't. `next` is the first of the packet's that nobody has taken yet.
inline bool take_fd(wire_reader& body, std::vector<unique_fd>& from, std::size_t& next, unique_fd& into) {
    if (!body.get<bool>()) return true;
    if (next == from.size()) return false;
    into = std::move(from[next++]);
    return true;
}

}  // namespace nerofs::os
