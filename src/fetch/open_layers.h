// An image of tar layers, opened: each layer is read as a whole if it was never seen on this machine and nobody offers
// an index of it, and all of their trees become one.
#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "fetch/protocol/messages.h"
#include "layer/layer_index.h"
#include "layer/toc_location.h"
#include "source/range_source.h"

namespace nerofs::fetch {

struct remote_layer {
    stored_layer blob;
    layer::compression how = layer::compression::plain;
    std::unique_ptr<source::range_source> source;
    std::optional<layer::toc_reference> toc{};
};

// What opening layers needs of the cache's owner. Any thread, one at a time.
class layer_work {
  public:
    layer_work() = default;
    layer_work(const layer_work&) = delete;
    layer_work& operator=(const layer_work&) = delete;
    virtual ~layer_work() = default;

    struct files {
        std::vector<layer_files> layers;
        unique_fd metadata;
        std::uint64_t most_content_bytes = 0;  // that layers may decode to together; 0: no limit
    };
    virtual result<files> files_for(const std::vector<stored_layer>& layers) = 0;
    virtual status indexed(const indexed_layer& which) = 0;
    virtual status progress(std::string_view what) = 0;
    virtual status pushed(std::string_view digest) = 0;  // of the artifact
    virtual status no_room() = 0;  // a file couldn't be written; trying again may help, after a while
};

// Indexes of layers that aren't made of the whole layer.
class index_offer {
  public:
    index_offer() = default;
    index_offer(const index_offer&) = delete;
    index_offer& operator=(const index_offer&) = delete;
    virtual ~index_offer() = default;

    virtual index_origin origin() const = 0;
    // That of a layer: the file, and what is in it, as far as that can be checked without the layer. What isn't sound
    // is left out with a line in the log. Any thread; blocks, for the image's timeout at most.
    struct offered {
        std::vector<std::byte> file;
        layer::layer_index index;
    };
    virtual std::optional<offered> get(const remote_layer& layer) = 0;
};

struct opened_layers {
    // Of the device: one of metadata, then each layer's content; empty ones are left out.
    std::vector<remote_part> parts;
    struct index_file {
        std::string layer;
        unique_fd file;
    };
    std::vector<index_file> indexes;  // of the layers that differ
};

// Layers that are the same are read once, and those not at all whose index is kept or offered (the first offer is
// preferred). If their trees don't go together, what was offered is left aside. `timeout`: how long the source may be
// silent. `metadata`: taken instead of the layers' own trees, unless it is empty. Errors name the layer: those of the
// source, of layer_ingest and merged_tree, and of writing.
result<opened_layers> open_layers(std::vector<remote_layer> layers, layer_work& work,
                                  std::span<index_offer* const> offers, std::chrono::milliseconds timeout,
                                  std::span<const std::byte> metadata = {});

// The part that these bytes are, written into a file of the cache.
result<remote_part> write_metadata(std::span<const std::byte> bytes, fd_ref file, layer_work& work);

// A kept index, if it is one of this layer. What is damaged is treated as none.
result<layer::layer_index> read_layer_index(fd_ref file, std::string_view digest);

}  // namespace nerofs::fetch
