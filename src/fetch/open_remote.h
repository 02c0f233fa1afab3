// Finds out what a remote source's bytes are: how many, by which name, and from where they come.
#pragma once

#include <memory>
#include <vector>

#include "base/result.h"
#include "fetch/open_layers.h"
#include "fetch/protocol/messages.h"
#include "http/client.h"
#include "source/range_source.h"

namespace nerofs::fetch {

struct opened_remote {
    remote_identity identity;
    // One for each part: where its bytes are, as they are stored there. None for metadata.
    std::vector<std::unique_ptr<source::range_source>> stored;
};

// The client's settings for a source. Takes the proxies into this process' environment: call it before any thread runs.
http::client_options client_options_for(const open_request& request);

// Blocks for as long as the source's timeout, and while layers are read that nobody has seen before. With `known`
// nothing is asked for. Errors: those of the registry or server, as people should read them.
result<opened_remote> open_remote(http::client& client, const open_request& request, const given_files& files,
                                  layer_work& work);

}  // namespace nerofs::fetch
