// Bearer tokens: what the token service answers, and when a new one is due. Pure: the clock is handed in.
#pragma once

#include <chrono>
#include <cstddef>
#include <span>

#include "base/result.h"
#include "oci/secret.h"

namespace nerofs::oci {

constexpr std::size_t token_answer_cap = 64u << 10;
constexpr std::size_t longest_token = 16u << 10;      // a header that servers still take
constexpr std::chrono::seconds default_lifetime{60};  // the specification's, when the answer doesn't say
constexpr std::chrono::seconds longest_lifetime{24 * 60 * 60};
constexpr std::chrono::seconds most_slack{15};

struct token_times {
    std::chrono::steady_clock::time_point asked;  // when the request was sent: the token can't be older
    std::chrono::system_clock::time_point now;    // when the answer came, for issued_at
};

struct bearer_token {
    secret value;
    std::chrono::steady_clock::time_point refresh_at;  // from then on a new one is fetched, while this one still works
    std::chrono::steady_clock::time_point expires_at;
};

// Takes `token` or `access_token`, `expires_in` and `issued_at`. A token that was issued earlier (a cache at the
// service) has the less time left; an issued_at that makes no sense (clocks that disagree) is ignored. It is refreshed
// before its end by a quarter of its life, at most 15 s. Errors: corrupt; auth when there is no token in the answer.
// Never any of the content.
result<bearer_token> parse_token(std::span<const std::byte> answer, const token_times& times);

// Whether a new token has to be there before it is used, and whether one should be fetched meanwhile.
bool is_expired(const bearer_token& token, std::chrono::steady_clock::time_point now);
bool needs_refresh(const bearer_token& token, std::chrono::steady_clock::time_point now);

}  // namespace nerofs::oci
