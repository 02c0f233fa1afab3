// Proving to one registry who we are, for as long as a mount lives: Basic, or Bearer with tokens that are renewed
// before they end.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "http/client.h"
#include "oci/challenge.h"
#include "oci/credentials.h"
#include "oci/token.h"
#include "source/authorizer.h"

namespace nerofs::oci {

struct registry_auth_options {
    reference image;
    bool secure = true;  // the registry is asked by https
    transport_rule rule = transport_rule::https_only;
    found_credential who;
    // Finds the credential again after it was refused (it may have been a short-lived one of a helper's) and calls back
    // once, from any thread. May be empty. Must not block.
    std::function<void(std::function<void(result<credential>)>)> renew;
    std::chrono::milliseconds token_timeout{30'000};  // to get one token, with all that is tried
};

// One repository's. Any thread; callbacks run on the caller's or the client's thread and must not block. Requests for a
// token are single flight. The client must outlive it.
class registry_auth final : public source::authorizer, public std::enable_shared_from_this<registry_auth> {
  public:
    static std::shared_ptr<registry_auth> make(http::client& client, registry_auth_options options);

    // Gives Authorization to the registry itself and nothing to anyone else. At once if a token is there that still
    // works; one that is due gets a successor meanwhile. Errors: auth, with all that is known about why; and what
    // asking for a token can say.
    void authorize(const http::url& target, const std::optional<rejection>& refused, completion done) override;

  private:
    enum class scheme : std::uint8_t { none, basic, bearer };
    enum class step : std::uint8_t { give, renew };  // what a rejection leads to
    using waiter = std::function<void(status)>;

    registry_auth(http::client& client, registry_auth_options options);

    http::fields current() const;
    result<step> learn_from(const rejection& refused);
    void give(completion done);
    void need_token(waiter done, std::unique_lock<std::mutex> lock);
    void ask(unsigned attempt);
    void on_answer(unsigned attempt, http::time_point asked, http::outcome answer);
    void on_failure(unsigned attempt, const http::failure& why);
    void renew_credential(waiter done);
    void finish(const status& how);
    error refusal(std::string_view what, int answered, std::string_view body) const;

    http::client& client_;
    const registry_auth_options options_;
    std::mutex mutex_;
    audience audience_;
    scheme scheme_ = scheme::none;
    bearer_challenge challenge_;
    std::optional<credential> who_;
    std::optional<bearer_token> token_;
    bool asking_ = false;   // for a token
    bool renewed_ = false;  // the credential, since it last worked
    http::time_point ask_until_;
    http::time_point not_before_{};  // after a failure nobody asks in the background until then
    std::vector<waiter> waiters_;
};

}  // namespace nerofs::oci
