#include "oci/auth_file.h"

#include <gtest/gtest.h>

#include <string>

#include "oci/challenge.h"
#include "support.h"

namespace nerofs::oci {
namespace {

// "helper@server, ... user:password" or "... token": what the file says, in one line.
std::string said(const std::string& text, const std::string& image) {
    const auto entry = read_auth_file(bytes_of(text), "config.json", *parse_reference(image));
    if (!entry) {
        EXPECT_EQ(entry.error().kind, error_kind::corrupt);
        return entry.error().message();
    }
    std::string out;
    for (const auto& helper : entry->helpers) out += helper.name + "@" + helper.server + ", ";
    if (!entry->found) return out + "none";
    if (!entry->found->identity_token.empty())
        return out + "token " + std::string(entry->found->identity_token.reveal());
    return out + entry->found->username + ":" + std::string(entry->found->password.reveal());
}

std::string auths(const std::string& entries) {
    return R"({"auths":{)" + entries + "}}";
}

std::string login(const std::string& key, const std::string& user = "u") {
    return "\"" + key + R"(":{"auth":")" + base64(user + ":p") + "\"}";
}

TEST(auth_file, the_names_of_registries) {
    const std::tuple<std::string, std::string, std::string> cases[] = {
        {"ghcr.io", "ghcr.io/o/r", "u:p"},
        {"https://ghcr.io", "ghcr.io/o/r", "u:p"},
        {"https://ghcr.io/v1/", "ghcr.io/o/r", "u:p"},
        {"ghcr.io/v2", "ghcr.io/o/r", "u:p"},
        {"ghcr.io/", "ghcr.io/o/r", "u:p"},
        {"GHCR.io", "ghcr.io/o/r", "u:p"},
        {"ghcr.io", "ghcr.io:443/o/r", "none"},
        {"ghcr.io", "notghcr.io/o/r", "none"},
        {"ghcr.io", "ghcr.io.evil.example/o/r", "none"},
        {"localhost:5000", "localhost:5000/x", "u:p"},
        {"http://localhost:5000/v2/", "localhost:5000/x", "u:p"},
        {"localhost:5000", "localhost:5001/x", "none"},
        {"[::1]:5000", "[::1]:5000/x", "u:p"},
        {"https://index.docker.io/v1/", "python", "u:p"},
        {"docker.io", "python", "u:p"},
        {"index.docker.io", "docker.io/me/x", "u:p"},
        {"registry-1.docker.io", "python", "u:p"},
        {"https://index.docker.io/v1/access-token", "python", "u:p"},
        {"quay.io/org", "quay.io/org/r", "u:p"},
        {"quay.io/org/r", "quay.io/org/r:tag", "u:p"},
        {"quay.io/org/", "quay.io/org/r", "u:p"},
        {"quay.io/org", "quay.io/organic/r", "none"},
        {"quay.io/org/r", "quay.io/org", "none"},
        {"quay.io/Org", "quay.io/org/r", "none"},
        {"docker.io/library", "python", "u:p"},
        {"docker.io/me", "python", "none"},
        {"", "python", "none"},
        {"/", "python", "none"},
    };
    for (const auto& [key, image, result] : cases)
        EXPECT_EQ(said(auths(login(key)), image), result) << key << " " << image;
}

TEST(auth_file, the_longest_key_counts_then_the_plain_one) {
    const std::string file = auths(login("quay.io/a/b", "deep") + "," + login("quay.io", "top") + "," +
                                   login("quay.io/a", "org") + "," + login("https://quay.io", "url"));
    EXPECT_EQ(said(file, "quay.io/a/b"), "deep:p");
    EXPECT_EQ(said(file, "quay.io/a/b/c"), "deep:p");
    EXPECT_EQ(said(file, "quay.io/a/bc"), "org:p");
    EXPECT_EQ(said(file, "quay.io/x"), "top:p");
    EXPECT_EQ(said(auths(login("https://quay.io", "url") + "," + login("quay.io", "plain")), "quay.io/x"), "plain:p");
    EXPECT_EQ(said(auths(R"("quay.io/a":{},)" + login("quay.io")), "quay.io/a/b"), "u:p")
        << "an empty entry says nothing";
}

TEST(auth_file, forms_of_an_entry) {
    EXPECT_EQ(said(auths(R"("r.io":{"username":"u","password":"p:q"})"), "r.io/x"), "u:p:q");
    EXPECT_EQ(said(auths(R"("r.io":{"auth":")" + base64("u:p:q") + "\"}"), "r.io/x"), "u:p:q");
    EXPECT_EQ(said(auths(R"("r.io":{"auth":" )" + base64("u:p") + "\\n\"}"), "r.io/x"), "u:p");
    EXPECT_EQ(said(auths(R"("r.io":{"auth":")" + base64(std::string("u:p\0\0", 5)) + "\"}"), "r.io/x"), "u:p");
    EXPECT_EQ(said(auths(R"("r.io":{"auth":")" + base64(":p") + "\"}"), "r.io/x"), ":p");
    EXPECT_EQ(said(auths(R"("r.io":{"auth":")" + base64("u:") + "\"}"), "r.io/x"), "u:");
    EXPECT_EQ(said(auths(R"("r.io":{"auth":")" + base64("u:") + R"(","identitytoken":"t"})"), "r.io/x"), "token t");
    EXPECT_EQ(said(auths(R"("r.io":{"identitytoken":"t"})"), "r.io/x"), "token t");
    EXPECT_EQ(said(auths(R"("r.io":{"email":"a@b"})"), "r.io/x"), "none");
    EXPECT_EQ(said(auths(R"("r.io":7)"), "r.io/x"), "none");
    EXPECT_EQ(said("{}", "r.io/x"), "none");
    EXPECT_EQ(said(R"({"auths":null,"HttpHeaders":{"X":"y"},"detachKeys":"ctrl-e,e"})", "r.io/x"), "none");
}

TEST(auth_file, helpers) {
    const std::string file = R"({"credsStore":"desktop","credHelpers":{"gcr.io":"gcloud","https://r.io":"r-login",
        "gcr.io/special":"special","docker.io":"hub"},"auths":{"gcr.io":{},)" +
                             login("r.io") + "}}";
    EXPECT_EQ(said(file, "gcr.io/p/x"), "gcloud@gcr.io, desktop@gcr.io, none");
    EXPECT_EQ(said(file, "gcr.io/special/x"), "special@gcr.io, desktop@gcr.io, none");
    EXPECT_EQ(said(file, "r.io/x"), "r-login@r.io, desktop@r.io, u:p");
    EXPECT_EQ(said(file, "python"), "hub@https://index.docker.io/v1/, desktop@https://index.docker.io/v1/, none");
    EXPECT_EQ(said(file, "other.io/x"), "desktop@other.io, none");
    EXPECT_EQ(said(R"({"credsStore":"a","credHelpers":{"r.io":"a"}})", "r.io/x"), "a@r.io, none") << "asked once";
    EXPECT_EQ(said(R"({"credsStore":"","credHelpers":{"r.io":""}})", "r.io/x"), "none");
    EXPECT_EQ(said(R"({"credsStore":"../evil"})", "r.io/x"),
              "credentials file 'config.json': '../evil' is no name of a credential helper");
}

TEST(auth_file, names_of_helpers) {
    for (const char* good : {"pass", "osxkeychain", "ecr-login", "gcr_x.2"}) EXPECT_TRUE(is_helper_name(good)) << good;
    for (const std::string bad : {"", "-x", ".x", "..", "a/b", "a b", "a;b", "a\n", "_x", "\xc3\xa9"})
        EXPECT_FALSE(is_helper_name(bad)) << bad;
    EXPECT_FALSE(is_helper_name(std::string(65, 'a')));
}

TEST(auth_file, malformed) {
    const std::pair<std::string, std::string> cases[] = {
        {"", "is empty"},
        {"[]", "is no object"},
        {"hunter2", "is not JSON (at byte 0)"},
        {R"({"auths":{"r.io":{"auth":"hunter2)", "is not JSON (at byte 33)"},
        {R"({"auths":[]})", "auths is no object"},
        {R"({"credHelpers":"x"})", "credHelpers is no object"},
        {R"({"auths":{"r.io":{"auth":"hunter2!"}}})", "the entry 'r.io' holds no user and password"},
        {R"({"auths":{"r.io":{"auth":")" + base64("hunter2") + R"("}}})",
         "the entry 'r.io' holds no user and password"},
        {R"({"auths":{"r.io":{},"r.io":{}}})", "the member 'r.io' is there twice"},
    };
    for (const auto& [text, why] : cases) EXPECT_EQ(said(text, "r.io/x"), "credentials file 'config.json': " + why);
}

TEST(helper_answer, forms) {
    const auto said_by = [](bool succeeded, const std::string& output) -> std::string {
        const auto answer = read_helper_answer("x", succeeded, output);
        if (!answer) return answer.error().message();
        if (!*answer) return "none";
        if (!(*answer)->identity_token.empty()) return "token " + std::string((*answer)->identity_token.reveal());
        return (*answer)->username + ":" + std::string((*answer)->password.reveal());
    };
    EXPECT_EQ(said_by(true, R"({"ServerURL":"r.io","Username":"u","Secret":"p"})"), "u:p");
    EXPECT_EQ(said_by(true, "{\"Username\":\"u\",\"Secret\":\"p\"}\n"), "u:p");
    EXPECT_EQ(said_by(true, R"({"Username":"<token>","Secret":"t"})"), "token t");
    EXPECT_EQ(said_by(true, R"({"Username":"","Secret":""})"), "none");
    EXPECT_EQ(said_by(true, "{}"), "none");
    EXPECT_EQ(said_by(false, "credentials not found in native keychain\n"), "none");
    EXPECT_EQ(said_by(false, "error: hunter2"), "credential helper docker-credential-x: failed");
    EXPECT_EQ(said_by(true, "hunter2"), "credential helper docker-credential-x: is not JSON (at byte 0)");
    EXPECT_EQ(said_by(true, ""), "credential helper docker-credential-x: is empty");
    EXPECT_EQ(said_by(true, "credentials not found in native keychain"),
              "credential helper docker-credential-x: is not JSON (at byte 0)");
}

}  // namespace
}  // namespace nerofs::oci
