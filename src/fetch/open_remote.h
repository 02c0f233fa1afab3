// Finds out what a remote source's bytes are: how many, by which name, and from where they come.
#pragma once

#include <memory>

#include "base/result.h"
#include "fetch/protocol/messages.h"
#include "http/client.h"
#include "source/range_source.h"

namespace nerofs::fetch {

struct opened_remote {
    remote_identity identity;
    std::unique_ptr<source::range_source> bytes;
};

// The client's settings for a source. Takes the proxies into this process' environment: call it before any thread runs.
http::client_options client_options_for(const open_request& request);

// Blocks for as long as the source's timeout. With `known` nothing is asked for. Errors: those of the registry or
// server, as people should read them.
result<opened_remote> open_remote(http::client& client, const open_request& request);

}  // namespace nerofs::fetch
