// A layer whose metadata, or places where its decoding can begin, the user gives as files (-o oci.tarindex=,
// oci.zinfo=).
#pragma once

#include <chrono>
#include <memory>
#include <vector>

#include "base/result.h"
#include "fetch/open_layers.h"

namespace nerofs::fetch {

// The parts of the device: the tarindex, if there is one, then the layer's content. Without a tarindex the content is
// an EROFS image itself. Without a zinfo a compressed layer is read as a whole, unless its index is kept. Errors:
// corrupt (a file that isn't one, or not this layer's), those of open_layers().
result<std::vector<remote_part>> open_given_layer(remote_layer layer, const given_files& files, layer_work& work,
                                                  std::chrono::milliseconds timeout);

// The index that such a part's zinfo makes; the file must be the one that the part was opened with (ESTALE).
result<layer::layer_index> index_of_zinfo(fd_ref zinfo, const remote_part& part);

}  // namespace nerofs::fetch
