#include "oci/challenge.h"

#include <gtest/gtest.h>

#include <string>

#include "support.h"

namespace nerofs::oci {
namespace {

const reference python = *parse_reference("python:3.12");

TEST(challenge, token_urls) {
    const std::pair<bearer_challenge, std::string> cases[] = {
        {{"https://auth.docker.io/token", "registry.docker.io", "repository:library/python:pull"},
         "https://auth.docker.io/token?service=registry.docker.io&scope=repository%3Alibrary%2Fpython%3Apull"},
        {{"https://ghcr.io/token", "", ""}, "https://ghcr.io/token?scope=repository%3Alibrary%2Fpython%3Apull"},
        {{"https://h/t?account=a", "s", "x"}, "https://h/t?account=a&service=s&scope=x"},
        {{"https://h/t?", "s", "x"}, "https://h/t?service=s&scope=x"},
        {{"https://h/t?a=b&", "s", "x"}, "https://h/t?a=b&service=s&scope=x"},
        {{"https://h", "a b&c=d#e", " x:y:pull,push  z "},
         "https://h?service=a%20b%26c%3Dd%23e&scope=x%3Ay%3Apull%2Cpush&scope=z"},
        {{"https://h/t", "\xc3\xa9\n", "~-._"}, "https://h/t?service=%C3%A9%0A&scope=~-._"},
    };
    for (const auto& [challenge, url] : cases) EXPECT_EQ(token_url(challenge, python), url);
}

TEST(challenge, identity_tokens_are_posted) {
    EXPECT_EQ(token_form({"https://h/t", "reg", "a b"}, python, secret(std::string_view("x+/=&"))).reveal(),
              "grant_type=refresh_token&client_id=nerofs&service=reg&scope=a%20b&refresh_token=x%2B%2F%3D%26");
    EXPECT_EQ(token_form({"https://h/t", "", ""}, python, secret(std::string_view("t"))).reveal(),
              "grant_type=refresh_token&client_id=nerofs&service=&scope=repository%3Alibrary%2Fpython%3Apull&refresh_"
              "token=t");
}

TEST(challenge, realms_that_may_be_asked) {
    const auto said = [](const std::string& realm, transport_rule rule = transport_rule::https_only, bool here = true) {
        const auto checked = check_realm({realm, "", ""}, rule, here);
        if (!checked) {
            EXPECT_EQ(checked.error().kind, error_kind::auth);
        }
        return checked ? std::string() : checked.error().message();
    };
    for (const char* good : {"https://auth.docker.io/token", "HTTPS://h:8443/t?x", "http://localhost:5001/auth",
                             "http://127.0.0.1/t", "http://[::1]:80/t"})
        EXPECT_EQ(said(good), "") << good;
    EXPECT_EQ(said("http://h/t?secret"),
              "the registry's token service 'http://h/t': is not https, so nothing is sent there; -o oci.insecure "
              "allows http");
    EXPECT_EQ(
        said("http://localhost.evil.example/t"),
        "the registry's token service 'http://localhost.evil.example/t': is not https, so nothing is sent there; -o "
        "oci.insecure allows http");
    EXPECT_EQ(said("http://h/t", transport_rule::plain_allowed), "");
    EXPECT_EQ(
        said("http://127.0.0.1/t", transport_rule::https_only, false),
        "the registry's token service 'http://127.0.0.1/t': is not https, so nothing is sent there; -o oci.insecure "
        "allows http")
        << "no registry elsewhere sends us to our own services";
    EXPECT_EQ(said(""), "the registry asks for a token but names no token service");
    EXPECT_EQ(said("https://u:hunter2@h/t"), "the registry's token service '(not shown)': is no https URL");
    EXPECT_EQ(said("https://h/t#x?hunter2"), "the registry's token service 'https://h/t': is no https URL");
    for (const char* bad : {"/token", "token", "ftp://h/t", "https:///t", "https://h:0/t", "https://h:99999/t",
                            "https:", "https", "http", "file:///etc/passwd", "https://h\\@evil/t", "https://-h/t"})
        EXPECT_EQ(said(bad, transport_rule::plain_allowed).substr(0, 28), "the registry's token service") << bad;
    EXPECT_EQ(said("https://h/\r\nX: y"), "the registry's token service 'https://h/\\x0d\\x0aX: y': is no https URL");
    EXPECT_EQ(said("https://h/" + std::string(5000, 'a')).substr(0, 40), "the registry's token service 'https://h/");
}

TEST(challenge, origins) {
    EXPECT_EQ(origin_of("https://H.example/x"), (origin{true, "h.example:443"}));
    EXPECT_EQ(origin_of("http://h:5000"), (origin{false, "h:5000"}));
    EXPECT_EQ(origin_of("http://[FE80::1]?x"), (origin{false, "[fe80::1]:80"}));
    EXPECT_EQ(registry_origin("ghcr.io", true), (origin{true, "ghcr.io:443"}));
    EXPECT_EQ(registry_origin("[::1]:5000", false), (origin{false, "[::1]:5000"}));
    for (const char* bad :
         {"https://h:/x", "https://[::1/x", "https://[::1]x/", "https://a:b:c/", "https://u@h/", "://h", ""})
        EXPECT_FALSE(origin_of(bad)) << bad;
}

TEST(challenge, who_may_be_told_a_credential) {
    audience hub(registry_origin(api_host(python), true));
    EXPECT_TRUE(hub.may_have_credentials("https://registry-1.docker.io/v2/"));
    EXPECT_FALSE(hub.may_have_credentials("https://auth.docker.io/token")) << "nobody has named it yet";
    hub.add_realm({"https://auth.docker.io/token", "", ""});
    EXPECT_TRUE(hub.may_have_credentials("https://auth.docker.io/token?scope=x"));
    EXPECT_TRUE(hub.may_have_token("https://registry-1.docker.io:443/v2/x"));
    EXPECT_FALSE(hub.may_have_token("https://auth.docker.io/token"));
    for (const char* other :
         {"https://production.cloudflare.docker.com/blob", "http://registry-1.docker.io/v2/", "https://docker.io/",
          "https://registry-1.docker.io:8443/v2/", "https://registry-1.docker.io.evil.example/",
          "https://registry-1.docker.io@evil.example/", "http://auth.docker.io/token", "https://evil.example/token", "",
          "/v2/"}) {
        EXPECT_FALSE(hub.may_have_credentials(other)) << other;
        EXPECT_FALSE(hub.may_have_token(other)) << other;
    }
    hub.add_realm({"https://other.example/token", "", ""});
    EXPECT_FALSE(hub.may_have_credentials("https://auth.docker.io/token")) << "the last one counts";
    audience nobody(registry_origin("", true));
    EXPECT_FALSE(nobody.may_have_token("https://"));
}

TEST(challenge, headers) {
    EXPECT_EQ(basic_authorization("Aladdin", secret(std::string_view("open sesame"))).reveal(),
              "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
    EXPECT_EQ(bearer_authorization(secret(std::string_view("abc"))).reveal(), "Bearer abc");
}

TEST(challenge, base64_both_ways) {
    const std::pair<std::string, std::string> cases[] = {{"", ""},
                                                         {"f", "Zg=="},
                                                         {"fo", "Zm8="},
                                                         {"foo", "Zm9v"},
                                                         {"foob", "Zm9vYg=="},
                                                         {"fooba", "Zm9vYmE="},
                                                         {"foobar", "Zm9vYmFy"},
                                                         {"\xff\xfe\xfd", "//79"}};
    for (const auto& [bytes, text] : cases) {
        EXPECT_EQ(base64(bytes), text);
        EXPECT_EQ(from_base64(text), bytes);
        EXPECT_EQ(from_base64(text.substr(0, text.find('='))), bytes) << "without padding";
    }
    for (const char* bad : {"Z", "Zg===", "Zg==Zg==", "Z g=", "Zm9vY", "a-b_", "\n"})
        EXPECT_FALSE(from_base64(bad)) << bad;
    EXPECT_EQ(from_base64(base64(std::string(100000, 'x'))), std::string(100000, 'x'));
}

TEST(secret, is_wiped_and_moves) {
    std::string source(40, 'p');
    const char* const where = source.data();
    secret s(std::move(source));
    EXPECT_EQ(std::string_view(where, 40), std::string(40, '\0')) << "the text it was made from";
    secret t(std::move(s));
    EXPECT_TRUE(s.empty());
    EXPECT_EQ(t.reveal(), std::string(40, 'p'));
    secret u;
    u = std::move(t);
    EXPECT_TRUE(t.empty());
    EXPECT_EQ(u.copy().reveal(), u.reveal());
    std::string small = "short";
    wipe(small);
    EXPECT_EQ(std::string_view(small.data(), 5), std::string(5, '\0'));
}

}  // namespace
}  // namespace nerofs::oci
