#include "http/challenge.h"

#include <gtest/gtest.h>

#include <string>

namespace nerofs::http {
namespace {

std::string shown(std::string_view value) {
    std::string out;
    for (const challenge& c : parse_challenges(value)) {
        out += "[" + c.scheme;
        if (!c.token68.empty()) out += " " + c.token68;
        for (const field& p : c.parameters) out += " " + p.name + "=<" + p.value + ">";
        out += "]";
    }
    return out;
}

TEST(challenge, docker_hub) {
    const auto all = parse_challenges(
        R"(Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:library/python:pull")");
    ASSERT_EQ(all.size(), 1u);
    EXPECT_EQ(all[0].scheme, "bearer");
    EXPECT_EQ(all[0].parameter("realm"), "https://auth.docker.io/token");
    EXPECT_EQ(all[0].parameter("Service"), "registry.docker.io");
    EXPECT_EQ(all[0].parameter("scope"), "repository:library/python:pull");
    EXPECT_EQ(all[0].parameter("error"), "");
}

TEST(challenge, several_in_one_value) {
    EXPECT_EQ(shown(R"(Newauth realm="apps", type=1, title="Login to \"apps\"", Basic realm="simple")"),
              R"([newauth realm=<apps> type=<1> title=<Login to "apps">][basic realm=<simple>])");
    EXPECT_EQ(shown("Negotiate, NTLM, Basic realm=x"), "[negotiate][ntlm][basic realm=<x>]");
    EXPECT_EQ(shown("Negotiate YII+/=,Bearer a=b"), "[negotiate YII+/=][bearer a=<b>]");
}

TEST(challenge, blanks_and_empty_elements) {
    EXPECT_EQ(shown(" , ,Basic  realm = \"a, b\" ,, charset=\"UTF-8\" , "), "[basic realm=<a, b> charset=<UTF-8>]");
}

TEST(challenge, a_comma_inside_quotes_is_text) {
    EXPECT_EQ(shown(R"(Bearer scope="repository:a:pull,push",service="s")"),
              "[bearer scope=<repository:a:pull,push> service=<s>]");
}

TEST(challenge, what_was_whole_before_a_mistake_is_kept) {
    EXPECT_EQ(shown(R"(Basic realm="a", Bearer realm="open)"), "[basic realm=<a>][bearer]");
    EXPECT_EQ(shown(R"(Basic realm="a" oops)"), "[basic realm=<a>]");
    EXPECT_EQ(shown("=x"), "");
    EXPECT_EQ(shown("Basic\x01realm=a"), "");
    EXPECT_EQ(shown(""), "");
}

TEST(challenge, bounded) {
    std::string many;
    for (int i = 0; i < 1000; ++i) many += "Basic,";
    EXPECT_EQ(parse_challenges(many).size(), 16u);
    std::string long_one = "Bearer a=1";
    for (int i = 0; i < 1000; ++i) long_one += ",a=1";
    EXPECT_EQ(parse_challenges(long_one)[0].parameters.size(), 16u);
}

}  // namespace
}  // namespace nerofs::http
