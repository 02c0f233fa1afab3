// The records of a pax extended header: "length keyword=value\n", parsed and checked; no I/O.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "erofs/inode.h"

namespace nerofs::layer {

// What headers say of a member; nothing where they are silent. An empty value in the archive takes back what was said
// before, so it can be here as "say nothing" over a global header.
struct pax_values {
    std::map<std::string, std::string, std::less<>> records;  // of the keywords in use; the last one of each
    std::size_t bytes = 0;                                    // of keywords and values

    void put(std::string_view keyword, std::string_view value);
    // Whether a record says that the member is a GNU sparse file.
    bool sparse() const;
    // The value, from here or else from `global`; nothing when silent or empty.
    std::optional<std::string_view> find(std::string_view keyword, const pax_values& global) const;
};

// Adds the records of one header to `into`, passing over keywords that nerofs has no use for. Errors: corrupt (no
// records), unsupported (more than tar_pax_cap bytes).
status parse_pax(std::string_view body, pax_values& into);

}  // namespace nerofs::layer
