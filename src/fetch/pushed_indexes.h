// The indexes of an image's layers that lie beside it in its registry (docs/layer-index.md).
#pragma once

#include <chrono>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "fetch/open_layers.h"
#include "oci/index_artifact.h"
#include "registry/referrers.h"
#include "registry/resolve.h"

namespace nerofs::fetch {

// An index of others' is never the reason for a failure.
class pushed_indexes final : public index_offer {
  public:
    // `image` must outlive it.
    pushed_indexes(std::shared_ptr<registry::session> with, const registry::resolved_image& image,
                   std::chrono::milliseconds timeout)
        : with_(std::move(with)), image_(image), timeout_(timeout) {}

    index_origin origin() const override { return index_origin::pushed; }
    // The first call looks up what there is.
    std::optional<offered> get(const remote_layer& layer) override;

  private:
    status find();
    status read_artifact(const oci::descriptor& artifact, const registry::patience& p);
    result<std::vector<std::byte>> read(const oci::layer_index_blob& from) const;
    result<offered> checked(const oci::layer_index_blob& from, const remote_layer& layer) const;

    const std::shared_ptr<registry::session> with_;
    const registry::resolved_image& image_;
    const std::chrono::milliseconds timeout_;
    std::once_flag looked_up_;
    // By the layer's digest.
    std::map<std::string, oci::layer_index_blob> found_;
    std::map<std::string, std::string> diff_ids_;  // as the image has them; empty: it contradicts itself
};

// The name by which such an index is kept: another one for each image and place, since who may push there says what is
// in it.
std::string pushed_index_name(const registry::resolved_image& image, const std::string& layer);

// Puts them beside the image, and tells `work` the artifact's digest. `timeout`: of each. Errors: the registry's.
status push_indexes(registry::session& with, const registry::resolved_image& image,
                    const std::vector<opened_layers::index_file>& indexes, layer_work& work,
                    std::chrono::milliseconds timeout);

}  // namespace nerofs::fetch
