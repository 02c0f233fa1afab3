// Indexes of the layers that bring a table of contents: eStargz and zstd:chunked.
#pragma once

#include <chrono>
#include <optional>
#include <string>

#include "base/result.h"
#include "fetch/open_layers.h"
#include "layer/toc_location.h"

namespace nerofs::fetch {

// The image's manifest vouches for the table by its digest, and the table for the data. Layers are fetched from by
// their own source, two or three small requests each.
class layer_tocs final : public index_offer {
  public:
    explicit layer_tocs(std::chrono::milliseconds timeout) : timeout_(timeout) {}

    index_origin origin() const override { return index_origin::toc; }
    std::optional<offered> get(const remote_layer& layer) override;

  private:
    result<offered> read(const remote_layer& layer) const;

    const std::chrono::milliseconds timeout_;
};

// The name by which such an index is kept: whoever has this layer with this table has the same one.
std::string toc_index_name(const std::string& layer, const layer::toc_reference& toc);

}  // namespace nerofs::fetch
