// A question to a registry with all that belongs to it. Internal to this folder.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "http/request.h"
#include "registry/patience.h"
#include "registry/session.h"

namespace nerofs::registry {

// Finds out whether the registry speaks https, logs in, follows redirects, tries again what is worth it; blocks until
// the end of patience. Not on the client's thread.
class exchange {
  public:
    exchange(session& with, patience p) : session_(with), patience_(std::move(p)) {}

    struct question {
        std::string path;                   // behind "/v2/" ...
        std::optional<http::url> target{};  // ... unless the registry has named the whole URL
        http::method verb = http::method::get;
        std::string accept{};
        std::string content_type{};
        std::shared_ptr<const std::string> body{};  // of a PUT
        std::size_t most_bytes = 64u << 10;         // of the answer
        bool any_answer = false;                    // will do, whatever its status is
    };

    // An answer has status 200, of POST and PUT any of 2xx. The failure's text is complete; kind timeout at the end of
    // patience.
    http::outcome insist(const question& q);
    http::outcome get(const std::string& path, std::string_view accept, std::size_t most_bytes);

    // Only whether it is there, and how it speaks: session::secure() is known afterwards.
    status reach();

  private:
    http::outcome ask(const question& q);
    http::outcome ask_by(bool secure, const question& q);
    http::outcome send(const http::url& to, const http::fields& secrets, const question& q);
    result<http::fields> authorize(const http::url& to, const std::optional<source::authorizer::rejection>& refused);
    error out_of_patience(std::string_view what) const;

    session& session_;
    const patience patience_;
};

}  // namespace nerofs::registry
