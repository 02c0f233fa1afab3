#include "oci/token.h"

#include <gtest/gtest.h>

#include <string>

#include "support.h"

namespace nerofs::oci {
namespace {

using namespace std::chrono_literals;

const token_times times{std::chrono::steady_clock::time_point(1000s),
                        std::chrono::sys_days(std::chrono::year(2024) / 5 / 1) + 10h};

struct life {
    std::string token;
    std::chrono::milliseconds refresh;
    std::chrono::milliseconds end;
};

life parsed(const std::string& answer) {
    const auto token = parse_token(bytes_of(answer), times);
    EXPECT_TRUE(token) << message_of(token);
    if (!token) return {};
    const auto since = [](auto t) { return std::chrono::duration_cast<std::chrono::milliseconds>(t - times.asked); };
    return {std::string(token->value.reveal()), since(token->refresh_at), since(token->expires_at)};
}

TEST(token, lives) {
    const std::tuple<std::string, std::chrono::milliseconds, std::chrono::milliseconds> cases[] = {
        {R"("expires_in":300)", 285s, 300s},  // Docker Hub
        {R"("expires_in":300,"issued_at":"2024-05-01T10:00:00.123456789Z")", 285s, 300s},
        {R"("issued_at":"2024-05-01T09:59:50Z")", 37500ms, 50s},
        {R"("expires_in":300,"issued_at":"2024-05-01T09:59:00Z")", 225s, 240s},
        {R"("expires_in":300,"issued_at":"2024-05-01T11:59:00+02:00")", 225s, 240s},
        {R"("expires_in":300,"issued_at":"2024-05-01T04:29:00-05:30")", 225s, 240s},
        {R"("expires_in":300,"issued_at":"2024-05-01T09:57:30Z")", 135s, 150s},
        {R"("expires_in":300,"issued_at":"2024-05-01T09:57:29Z")", 285s, 300s},  // a fast clock, not an old token
        {R"("expires_in":300,"issued_at":"2024-05-01T12:00:00Z")", 285s, 300s},  // a slow one
        {R"("expires_in":300,"issued_at":"1970-01-01T00:00:00Z")", 285s, 300s},
        {R"("expires_in":300,"issued_at":"0001-01-01T00:00:00Z")", 285s, 300s},
        {R"("expires_in":300,"issued_at":"2024-13-01T00:00:00Z")", 285s, 300s},
        {R"("expires_in":300,"issued_at":"yesterday, at about noon")", 285s, 300s},
        {R"("expires_in":300,"issued_at":"2024-05-01T10:00:00")", 285s, 300s},
        {R"("expires_in":300,"issued_at":7)", 285s, 300s},
        {R"("expires_in":2)", 1500ms, 2s},
        {R"("expires_in":1)", 750ms, 1s},
        {R"("expires_in":0)", 45s, 60s},
        {R"("expires_in":-5)", 45s, 60s},
        {R"("expires_in":"300")", 45s, 60s},
        {R"("expires_in":3.5)", 45s, 60s},
        {R"("expires_in":18446744073709551615)", 86385s, 86400s},
        {R"("expires_in":18446744073709551616)", 45s, 60s},
        {R"("expires_in":null)", 45s, 60s},
        {R"("x":1)", 45s, 60s},
    };
    for (const auto& [members, refresh, end] : cases) {
        const life l = parsed(R"({"token":"abc",)" + members + "}");
        EXPECT_EQ(l.token, "abc");
        EXPECT_EQ(l.refresh.count(), refresh.count()) << members;
        EXPECT_EQ(l.end.count(), end.count()) << members;
    }
}

TEST(token, either_name) {
    EXPECT_EQ(parsed(R"({"access_token":"b"})").token, "b");
    EXPECT_EQ(parsed(R"({"access_token":"b","token":"a"})").token, "a");
    EXPECT_EQ(parsed(R"({"access_token":"b","token":""})").token, "b");
    EXPECT_EQ(parsed(R"({"access_token":"b","token":null})").token, "b");
}

TEST(token, when_it_is_due) {
    const auto token = parse_token(bytes_of(R"({"token":"a","expires_in":100})"), times);
    ASSERT_TRUE(token);
    EXPECT_FALSE(needs_refresh(*token, times.asked + 84s));
    EXPECT_TRUE(needs_refresh(*token, times.asked + 85s));
    EXPECT_FALSE(is_expired(*token, times.asked + 99s));
    EXPECT_TRUE(is_expired(*token, times.asked + 100s));
}

TEST(token, what_is_none) {
    const std::tuple<std::string, error_kind, std::string> cases[] = {
        {"", error_kind::corrupt, "token service's answer: is empty"},
        {"{}", error_kind::auth, "token service's answer: holds no token"},
        {"[]", error_kind::auth, "token service's answer: holds no token"},
        {R"({"token":7})", error_kind::auth, "token service's answer: holds no token"},
        {R"({"token":""})", error_kind::auth, "token service's answer: holds no token"},
        {R"({"token":"hunter2 hunter2"})", error_kind::corrupt,
         "token service's answer: the token can't be sent in a header"},
        {R"({"token":"a\r\nHost: evil"})", error_kind::corrupt,
         "token service's answer: the token can't be sent in a header"},
        {R"({"token":")" + std::string(longest_token + 1, 'a') + "\"}", error_kind::corrupt,
         "token service's answer: the token can't be sent in a header"},
        {R"({"token":"hunter2)", error_kind::corrupt, "token service's answer: is not JSON (at byte 17)"},
        {"<html>", error_kind::corrupt, "token service's answer: is not JSON but looks like a web page"},
        {std::string(token_answer_cap + 1, ' '), error_kind::corrupt, "token service's answer: is larger than 65.5 kB"},
    };
    for (const auto& [answer, kind, message] : cases) {
        const auto token = parse_token(bytes_of(answer), times);
        ASSERT_FALSE(token) << answer;
        EXPECT_EQ(token.error().kind, kind) << answer;
        EXPECT_EQ(token.error().message(), message);
    }
}

}  // namespace
}  // namespace nerofs::oci
