#include "oci/challenge.h"

#include <fmt/format.h>

#include <cstdint>

#include "oci/text.h"

namespace nerofs::oci {
namespace {

constexpr std::string_view base64_letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
constexpr std::size_t longest_realm = 4096;

// "a=1&b=2": what the token service is asked for.
std::string wish(const bearer_challenge& challenge, const reference& image) {
    std::string text;
    const auto add = [&](std::string_view name, std::string_view value) {
        text += fmt::format("{}{}={}", text.empty() ? "" : "&", name, percent_encoded(value));
    };
    if (!challenge.service.empty()) add("service", challenge.service);
    std::string_view scopes = trimmed(challenge.scope);
    const std::string own = pull_scope(image);
    if (scopes.empty()) scopes = own;
    while (!scopes.empty()) {
        const std::string_view scope = scopes.substr(0, scopes.find(' '));
        add("scope", scope);
        scopes = trimmed(scopes.substr(scope.size()));
    }
    return text;
}

}  // namespace

std::string pull_scope(const reference& image) {
    return fmt::format("repository:{}:pull", image.repository);
}

status check_realm(const bearer_challenge& challenge, transport_rule rule, bool registry_is_here) {
    const auto wrong = [&](std::string_view why) {
        std::string_view shown_part = std::string_view(challenge.realm).substr(0, challenge.realm.find_first_of("?#"));
        if (shown_part.find('@') != std::string_view::npos) shown_part = "(not shown)";
        return make_error(error_kind::auth,
                          fmt::format("the registry's token service {}: {}", quoted(shown_part), why));
    };
    if (challenge.realm.empty())
        return fail(error_kind::auth, "the registry asks for a token but names no token service");
    if (challenge.realm.size() > longest_realm) return fail(wrong("the URL is too long"));
    const auto where = origin_of(challenge.realm);
    if (!where || challenge.realm.find('#') != std::string::npos) return fail(wrong("is no https URL"));
    if (where->secure || rule == transport_rule::plain_allowed) return {};
    if (registry_is_here && is_loopback(where->authority)) return {};
    return fail(wrong("is not https, so nothing is sent there").with_hint("-o oci.insecure allows http"));
}

std::string token_url(const bearer_challenge& challenge, const reference& image) {
    const std::size_t query = challenge.realm.find('?');
    if (query == std::string::npos) return challenge.realm + "?" + wish(challenge, image);
    const bool joined = query + 1 == challenge.realm.size() || challenge.realm.back() == '&';
    return challenge.realm + (joined ? "" : "&") + wish(challenge, image);
}

secret token_form(const bearer_challenge& challenge, const reference& image, const secret& identity_token) {
    // OAuth 2 wants one scope parameter, its values apart by blanks.
    std::string_view scope = trimmed(challenge.scope);
    const std::string own = pull_scope(image);
    if (scope.empty()) scope = own;
    std::string token = percent_encoded(identity_token.reveal());
    std::string form = fmt::format("grant_type=refresh_token&client_id=nerofs&service={}&scope={}&refresh_token={}",
                                   percent_encoded(challenge.service), percent_encoded(scope), token);
    wipe(token);
    return secret(std::move(form));
}

secret basic_authorization(std::string_view username, const secret& password) {
    std::string pair = std::string(username) + ":";
    pair += password.reveal();
    std::string value = "Basic " + base64(pair);
    wipe(pair);
    return secret(std::move(value));
}

secret bearer_authorization(const secret& token) {
    return secret("Bearer " + std::string(token.reveal()));
}

bool audience::may_have_credentials(std::string_view url) const {
    const auto where = origin_of(url);
    return where && (*where == registry_ || (realm_ && *where == *realm_));
}

bool audience::may_have_token(std::string_view url) const {
    return origin_of(url) == registry_;
}

std::string percent_encoded(std::string_view text) {
    std::string out;
    for (const char c : text) {
        if (is_word(c) || c == '-' || c == '.' || c == '~')
            out += c;
        else
            out += fmt::format("%{:02X}", static_cast<unsigned char>(c));
    }
    return out;
}

std::string base64(std::string_view bytes) {
    std::string out;
    out.reserve((bytes.size() + 2) / 3 * 4);
    for (std::size_t i = 0; i < bytes.size(); i += 3) {
        std::uint32_t three = 0;
        const std::size_t count = std::min<std::size_t>(3, bytes.size() - i);
        for (std::size_t j = 0; j < 3; ++j)
            three = three << 8 | (j < count ? static_cast<unsigned char>(bytes[i + j]) : 0u);
        for (std::size_t j = 0; j < 4; ++j) out += j <= count ? base64_letters[three >> (18 - 6 * j) & 63] : '=';
    }
    return out;
}

std::optional<std::string> from_base64(std::string_view text) {
    for (int i = 0; i < 2 && text.ends_with('='); ++i) text.remove_suffix(1);
    if (text.size() % 4 == 1) return std::nullopt;
    std::string out;
    out.reserve(text.size() / 4 * 3 + 2);
    std::uint32_t bits = 0;
    unsigned count = 0;
    for (const char c : text) {
        const std::size_t value = base64_letters.find(c);
        if (value == std::string_view::npos) return std::nullopt;
        bits = (bits << 6 | static_cast<std::uint32_t>(value)) & 0xffffff;
        count += 6;
        if (count >= 8) {
            count -= 8;
            out += static_cast<char>(bits >> count & 0xff);
        }
    }
    return out;
}

}  // namespace nerofs::oci
