// Sets of extended attributes, each kept once: of thousands of files most have the same ones.
#pragma once

#include <cstdint>
#include <set>
#include <vector>

#include "erofs/xattr.h"

namespace nerofs::layer {

class attribute_pool {
  public:
    struct kept {
        const std::vector<erofs::xattr>* set = nullptr;  // as long as the pool; nullptr: no attributes
        std::uint64_t bytes = 0;                         // what keeping it costs; 0 when it was there
    };
    kept keep(std::vector<erofs::xattr>&& attributes);

  private:
    struct by_content {
        bool operator()(const std::vector<erofs::xattr>& a, const std::vector<erofs::xattr>& b) const;
    };
    std::set<std::vector<erofs::xattr>, by_content> sets_;
};

}  // namespace nerofs::layer
