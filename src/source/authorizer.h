// Who gives a source the header fields that let it in.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "http/fields.h"
#include "http/url.h"

namespace nerofs::source {

class authorizer {
  public:
    // Why credentials are asked for again.
    struct rejection {
        int status = 0;                       // 401 or 403
        std::vector<std::string> challenges;  // the answer's WWW-Authenticate values
        http::fields used;                    // what authorize() had given for the request; may be none
    };
    using completion = std::function<void(result<http::fields>)>;

    virtual ~authorizer() = default;

    // Gives the fields (most often one Authorization, or none) for a request to `target`; calls `done` once, at once or
    // later, on any thread, but not when the client is gone. Called on the client's thread, before every request to the
    // source's own origin, so what is still good must be answered at once and without blocking. One source never calls
    // it again before `done`; several sources that share an authorizer may.
    //
    // With a rejection: if `used` isn't what would be given now, it was refreshed in the meantime, and what there is
    // now is the answer. An error ends the read that needed it, unless it is kind retryable.
    virtual void authorize(const http::url& target, const std::optional<rejection>& refused, completion done) = 0;
};

}  // namespace nerofs::source
