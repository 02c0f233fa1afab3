// One repository of one registry, for as long as somebody reads from it: where it is, and proving to it who we are.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "http/client.h"
#include "http/retry.h"
#include "oci/challenge.h"
#include "oci/credentials.h"
#include "oci/token.h"
#include "source/authorizer.h"

namespace nerofs::registry {

struct session_options {
    oci::reference image;
    oci::found_credential who{};
    // oci.insecure: http is tried where https doesn't answer, and token services may be plain. A registry on this
    // machine may always be. The client must allow plain http, too.
    bool insecure = false;
    http::retry_policy retry{};
    http::progress_limit progress{};                  // of manifests and tokens
    std::chrono::milliseconds token_timeout{30'000};  // of one request for a token
    // Numbers in [0, 1) for the spread of retries, one call at a time. Empty: random ones.
    std::function<double()> random{};
};

// Knows whether the registry speaks https, and the Authorization that it wants: none, Basic, or Bearer with tokens that
// are fetched before they end and once for all who need one. Credentials go to the registry and to the token service
// that it names, if oci::check_realm() lets it; to nobody else.
//
// A credential that the registry refuses is refused for a growing while without asking again. A token that is refused
// gets a successor, but a few fresh ones in a row mean that access is denied.
//
// Threads: all functions may be called from any thread, and none blocks. Callbacks come on the caller's or the client's
// thread, without a lock. The client must outlive all use.
class session final : public source::authorizer, public std::enable_shared_from_this<session> {
  public:
    static std::shared_ptr<session> make(http::client& client, session_options options);

    // Gives Authorization to requests to the registry itself, and nothing to others. Errors: auth, in words that tell
    // what was tried; retryable when the token service is away; corrupt when it answers nonsense.
    void authorize(const http::url& target, const std::optional<rejection>& refused, completion done) override;

    // From now on this one is used: the former one ended, say. What was refused is forgotten.
    void replace_credential(oci::found_credential who);

    const oci::reference& image() const { return options_.image; }
    http::client& client() const { return client_; }

    // ---- for this folder ----

    const http::progress_limit& progress() const { return options_.progress; }
    bool plain_allowed() const;
    // Whether the registry is asked by https; nullopt until it has answered.
    std::optional<bool> secure() const;
    void settle(bool secure);  // the first one counts
    // A request with these fields was answered, so what is in them was good.
    void accepted(const http::fields& given);
    // Of the API's "/v2/" and the path.
    result<http::url> url(bool secure, std::string_view path) const;
    std::chrono::milliseconds pause(unsigned attempt, std::optional<std::chrono::milliseconds> retry_after);

  private:
    enum class scheme : std::uint8_t { none, basic, bearer };
    // What would only fail again until then.
    struct failed {
        error why;
        http::time_point until;
    };
    using locked = std::unique_lock<std::mutex>;

    session(http::client& client, session_options options);

    // With the mutex held.
    bool may_have_token(const http::url& target) const;
    bool has_password() const { return options_.who.value && !options_.who.value->password.empty(); }
    bool token_works(http::time_point now) const;
    http::fields current(http::time_point now) const;
    status learn_from(const rejection& refused);
    status count_refusal(const rejection& refused, http::time_point now);
    void drop_token(http::time_point now);
    std::chrono::milliseconds spread(unsigned attempt, std::optional<std::chrono::milliseconds> retry_after);
    tl::unexpected<error> remember(error why, std::optional<std::chrono::seconds> retry_after = std::nullopt);
    error denied(std::string_view who_denies, int answered, std::string_view said) const;

    // These let the mutex go.
    void give(locked lock, completion done);
    void ask_for_token(locked lock);
    void on_answer(http::time_point asked, http::outcome answer);
    result<oci::bearer_token> token_in(http::time_point asked, http::outcome answer,
                                       std::optional<std::chrono::seconds>& retry_after) const;

    http::client& client_;
    session_options options_;  // `who` changes, with the mutex held; nothing else does
    mutable std::mutex mutex_;
    std::optional<bool> secure_;
    scheme scheme_ = scheme::none;
    oci::bearer_challenge challenge_;
    std::optional<oci::bearer_token> token_;
    http::time_point since_{};  // the token came, or the password was refused last
    unsigned refusals_ = 0;     // of what was fresh, in a row
    unsigned failures_ = 0;     // remembered, in a row
    bool proven_ = false;       // the credential was good once
    bool asking_ = false;       // for a token
    std::optional<failed> failed_;
    std::vector<completion> waiting_;  // for the token
    std::minstd_rand random_{std::random_device{}()};
};

}  // namespace nerofs::registry
