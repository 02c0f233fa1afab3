// What fuzz targets hold their subjects to: a broken rule is a crash, which the fuzzer keeps.
#pragma once

#include <cstdlib>

#include "base/result.h"

namespace nerofs::fuzz {

inline void require(bool holds) {
    if (!holds) std::abort();
}

// An error says something, in one line that any terminal may show.
template <class T>
void check_error(const result<T>& r) {
    if (r) return;
    require(!r.error().text.empty());
    for (const char c : r.error().message()) require(static_cast<unsigned char>(c) >= 0x20 && c != 0x7f);
}

}  // namespace nerofs::fuzz
