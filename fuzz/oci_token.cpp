// Answers of token services, and challenges that name one: the input up to the first newline is the realm.
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "oci/challenge.h"
#include "oci/token.h"
#include "require.h"

namespace {

using namespace nerofs;
using namespace std::chrono_literals;
using namespace nerofs::fuzz;

void check_error(const error& e) {
    const std::string text = e.message();
    require(!text.empty() && text.size() < 1000);
    for (const char c : text) require(c >= ' ' && c < 0x7f);
}

void check_answer(std::span<const std::byte> answer) {
    const oci::token_times times{std::chrono::steady_clock::time_point(1000s),
                                 std::chrono::sys_days(std::chrono::year(2024) / 5 / 1)};
    const auto token = oci::parse_token(answer, times);
    if (!token) {
        check_error(token.error());
        return;
    }
    require(!token->value.empty() && token->value.reveal().size() <= oci::longest_token);
    for (const char c : token->value.reveal()) require(c > ' ' && c < 0x7f);
    require(token->refresh_at < token->expires_at && token->refresh_at > times.asked);
    require(token->expires_at - times.asked <= oci::longest_lifetime);
}

void check_realm(std::string_view realm, std::string_view rest) {
    const auto image = *oci::parse_reference("r.io/x");
    const oci::bearer_challenge challenge{std::string(realm), std::string(rest.substr(0, 20)), std::string(rest)};
    for (const auto rule : {oci::transport_rule::https_only, oci::transport_rule::plain_allowed}) {
        const auto checked = oci::check_realm(challenge, rule, rest.size() % 2 == 0);
        if (!checked) {
            check_error(checked.error());
            continue;
        }
        const std::string url = oci::token_url(challenge, image);
        // Still the same host, and nothing of the challenge but the realm is there unescaped.
        require(oci::origin_of(url) == oci::origin_of(realm));
        require(url.starts_with(realm));
        for (const char c : url.substr(realm.size())) require(c > ' ' && c < 0x7f && c != '#');
        oci::audience audience(oci::registry_origin("r.io", true));
        audience.add_realm(challenge);
        require(audience.may_have_credentials(url));
        require(!audience.may_have_token(url) || oci::origin_of(url) == oci::registry_origin("r.io", true));
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string_view input(reinterpret_cast<const char*>(data), size);
    check_answer(std::as_bytes(std::span(data, size)));
    const std::string_view realm = input.substr(0, input.find('\n'));
    check_realm(realm, realm.size() < size ? input.substr(realm.size() + 1) : std::string_view());
    return 0;
}
