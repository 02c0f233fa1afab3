#include "layer/attribute_pool.h"

#include <algorithm>
#include <utility>

namespace nerofs::layer {

bool attribute_pool::by_content::operator()(const std::vector<erofs::xattr>& a,
                                            const std::vector<erofs::xattr>& b) const {
    return std::lexicographical_compare(a.begin(), a.end(), b.begin(), b.end(), [](const auto& x, const auto& y) {
        return x.name != y.name ? x.name < y.name : x.value < y.value;
    });
}

attribute_pool::kept attribute_pool::keep(std::vector<erofs::xattr>&& attributes) {
    if (attributes.empty()) return {};
    const auto [set, fresh] = sets_.insert(std::move(attributes));
    kept out{&*set, 0};
    if (!fresh) return out;
    for (const erofs::xattr& a : *set) out.bytes += sizeof a + a.name.size() + a.value.size();
    return out;
}

}  // namespace nerofs::layer
