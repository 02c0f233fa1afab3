// What a registry asks of a client before it answers, and whom a credential may be told. Pure.
//
// The protocol is that of github.com/distribution/distribution's token authentication: a 401 names a token service
// (realm), which hands out bearer tokens for Basic credentials (GET) or for an identity token (POST, OAuth 2).
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"
#include "oci/origin.h"
#include "oci/reference.h"
#include "oci/secret.h"

namespace nerofs::oci {

// The parameters of WWW-Authenticate: Bearer.
struct bearer_challenge {
    std::string realm;    // the URL of the token service
    std::string service;  // may be empty
    std::string scope;    // "repository:library/debian:pull"; several are apart by blanks; may be empty
    friend bool operator==(const bearer_challenge&, const bearer_challenge&) = default;
};

// "repository:library/debian:pull", for a challenge that names no scope.
std::string pull_scope(const reference& image);

// Plain http is never used unless somebody said so (oci.insecure), but on this machine itself.
enum class transport_rule { https_only, plain_allowed };

// Whether the token service may be asked at all: its URL is https, or http where the rule lets it; without user,
// password or fragment. A registry on this machine may name a plain service on this machine, but no other registry may.
// Errors: auth; the text never holds the URL's query.
status check_realm(const bearer_challenge& challenge, transport_rule rule, bool registry_is_here);

// The URL to GET for a token. The challenge must have passed check_realm().
std::string token_url(const bearer_challenge& challenge, const reference& image);

// The form to POST to the realm for a token, with an identity token: OAuth 2's grant_type=refresh_token.
secret token_form(const bearer_challenge& challenge, const reference& image, const secret& identity_token);

// The value of Authorization: for a user and password, and for a token.
secret basic_authorization(std::string_view username, const secret& password);
secret bearer_authorization(const secret& token);

// Those who may be told the credentials for one registry: the registry itself, and the token service that it named.
// Nobody else: not a host that a redirect leads to, not a similar name, not another port or scheme.
class audience {
  public:
    explicit audience(origin registry) : registry_(std::move(registry)) {}

    // The token service that an answer of the registry's own named; the last one counts.
    void add_realm(const bearer_challenge& challenge) { realm_ = origin_of(challenge.realm); }

    // Username, password and identity token.
    bool may_have_credentials(std::string_view url) const;
    // The bearer token.
    bool may_have_token(std::string_view url) const;

  private:
    origin registry_;
    std::optional<origin> realm_;
};

// Text for a query or form: everything but letters, digits and - . _ ~ becomes %XX.
std::string percent_encoded(std::string_view text);

// RFC 4648, section 4, with padding.
std::string base64(std::string_view bytes);
// nullopt for what isn't base64; padding may be missing.
std::optional<std::string> from_base64(std::string_view text);

}  // namespace nerofs::oci
