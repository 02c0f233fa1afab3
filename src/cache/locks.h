// Locks of open file descriptions (fcntl(2), F_OFD_*): they end with the last descriptor of the description, so with
// the death of their holder, and are seen across pid namespaces and containers.
//
// A description that is passed to another process or inherited shares its locks: whoever is to hold a lock of its own
// needs a description of its own (reopen).
#pragma once

#include <chrono>
#include <cstdint>

#include "base/result.h"
#include "base/unique_fd.h"

namespace nerofs::cache {

enum class lock_kind : std::uint8_t { shared, exclusive };

// Locks one byte; the file need not reach that far. False if somebody else holds it. Doesn't block. Shared needs a
// readable descriptor, exclusive a writable one.
result<bool> try_lock_byte(fd_ref file, std::uint64_t at, lock_kind kind);

// The same, trying again until the deadline; then kind timeout. For locks that are held for moments only.
status lock_byte(fd_ref file, std::uint64_t at, lock_kind kind, std::chrono::steady_clock::time_point until);

void unlock_byte(fd_ref file, std::uint64_t at);

// Whether another description holds an exclusive lock there. True if it can't be found out.
bool locked_by_another(fd_ref file, std::uint64_t at);

// Another description of the same file, even of one that was unlinked or is a memfd. `flags` as open(2)'s. Needs /proc
// and the permission to open it.
result<unique_fd> reopen(fd_ref file, int flags);

}  // namespace nerofs::cache
