#include "oci/credentials.h"

#include <gtest/gtest.h>

#include <map>
#include <string>
#include <utility>

#include "oci/challenge.h"
#include "support.h"

namespace nerofs::oci {
namespace {

class fake_world : public credential_world {
  public:
    std::map<std::string, std::string> variables;
    std::map<std::string, std::string> files;
    std::map<std::string, error> broken_files;
    std::map<std::pair<std::string, std::string>, helper_run> helpers;  // by name and server
    mutable std::string asked;

    std::optional<std::string> variable(const std::string& name) const override {
        const auto found = variables.find(name);
        return found == variables.end() ? std::nullopt : std::optional(found->second);
    }
    std::string home() const override { return variable("HOME").value_or(""); }
    unsigned user_id() const override { return 1000; }
    result<std::string> read_file(const std::string& path, std::size_t) const override {
        asked += path + "\n";
        if (const auto broken = broken_files.find(path); broken != broken_files.end()) return fail(broken->second);
        const auto found = files.find(path);
        if (found == files.end()) return fail(errno_error(ENOENT, "open '" + path + "'"));
        return found->second;
    }
    result<helper_run> run_helper(const std::string& name, const std::string& server) const override {
        asked += name + " " + server + "\n";
        const auto found = helpers.find({name, server});
        if (found == helpers.end()) return fail(error_kind::not_found, "there is no such program in PATH");
        return found->second;
    }
};

const reference image = *parse_reference("r.io/org/x");

std::string login(const std::string& user, const std::string& key = "r.io") {
    return R"({"auths":{")" + key + R"(":{"auth":")" + base64(user + ":p") + "\"}}}";
}

std::string text_of(const result<found_credential>& found) {
    if (!found) return found.error().message();
    std::string text;
    if (found->value)
        text = found->value->username + ":" + std::string(found->value->password.reveal()) +
               std::string(found->value->identity_token.reveal()) + " from ";
    text += to_string(found->origin);
    for (const std::string& note : found->passed_over) text += "; " + note;
    return text;
}

std::string found_in(const fake_world& world, const given_credential& given = {}) {
    const auto found = find_credential(image, given, world);
    const std::string text = text_of(found);
    // Found again, it is the same.
    if (found && found->origin.kind != credential_kind::given) {
        const auto again = find_again(image, found->origin, world);
        EXPECT_TRUE(again) << message_of(again);
        if (again) {
            EXPECT_EQ(again->origin, found->origin);
            EXPECT_EQ(again->value.has_value(), found->value.has_value());
            if (again->value && found->value) {
                EXPECT_EQ(again->value->username, found->value->username);
                EXPECT_EQ(again->value->password.reveal(), found->value->password.reveal());
                EXPECT_EQ(again->value->identity_token.reveal(), found->value->identity_token.reveal());
            }
        }
    }
    return text;
}

given_credential given(const char* user, const char* password, const char* file) {
    return {user, secret(std::string_view(password)), file};
}

TEST(credentials, the_order_of_places) {
    fake_world world;
    EXPECT_EQ(found_in(world), "no credentials");
    EXPECT_EQ(world.asked, "/run/containers/1000/auth.json\n") << "without a home";
    world.variables = {{"HOME", "/home/me"}, {"XDG_RUNTIME_DIR", "/run/user/1000"}};
    world.asked.clear();
    EXPECT_EQ(found_in(world), "no credentials");
    EXPECT_EQ(
        world.asked,
        "/home/me/.docker/config.json\n/run/user/1000/containers/auth.json\n/home/me/.config/containers/auth.json\n"
        "/run/containers/1000/auth.json\n");

    world.files["/run/containers/1000/auth.json"] = login("run");
    EXPECT_EQ(found_in(world), "run:p from the credentials in '/run/containers/1000/auth.json'");
    world.files["/home/me/.config/containers/auth.json"] = login("config");
    EXPECT_EQ(found_in(world), "config:p from the credentials in '/home/me/.config/containers/auth.json'");
    world.variables["XDG_CONFIG_HOME"] = "/cfg";
    world.files["/cfg/containers/auth.json"] = login("xdg");
    EXPECT_EQ(found_in(world), "xdg:p from the credentials in '/cfg/containers/auth.json'");
    world.files["/run/user/1000/containers/auth.json"] = login("runtime");
    EXPECT_EQ(found_in(world), "runtime:p from the credentials in '/run/user/1000/containers/auth.json'");
    world.variables["REGISTRY_AUTH_FILE"] = "/auth";
    EXPECT_EQ(found_in(world), "no credentials") << "it replaces the containers tools' other places";
    world.files["/auth"] = login("variable");
    EXPECT_EQ(found_in(world), "variable:p from the credentials in '/auth'");
    world.files["/home/me/.docker/config.json"] = login("docker");
    EXPECT_EQ(found_in(world), "docker:p from the credentials in '/home/me/.docker/config.json'");
    world.variables["DOCKER_CONFIG"] = "/dc";
    EXPECT_EQ(found_in(world), "variable:p from the credentials in '/auth'") << "it replaces ~/.docker";
    world.files["/dc/config.json"] = login("dc");
    EXPECT_EQ(found_in(world), "dc:p from the credentials in '/dc/config.json'");

    world.files["/pw"] = "secret line\r\nanother\n";
    EXPECT_EQ(found_in(world, given("me", "", "/pw")), "me:secret line from the password in '/pw'");
    EXPECT_EQ(found_in(world, given("me", "word", "/pw")),
              "me:word from the credentials of -o oci.username and oci.password");
}

TEST(credentials, places_are_searched_for_this_registry_only) {
    fake_world world;
    world.variables = {{"HOME", "/h"}};
    world.files["/h/.docker/config.json"] = login("u", "other.io");
    world.files["/h/.config/containers/auth.json"] = login("org", "r.io/org");
    EXPECT_EQ(found_in(world), "org:p from the credentials in '/h/.config/containers/auth.json'");
}

TEST(credentials, helpers) {
    fake_world world;
    world.variables = {{"HOME", "/h"}};
    world.files["/h/.docker/config.json"] =
        R"({"credsStore":"store","credHelpers":{"r.io":"own"},"auths":{"r.io":{"auth":"dTpw"}}})";
    world.helpers[{"own", "r.io"}] = {true, R"({"Username":"own","Secret":"s"})"};
    world.helpers[{"store", "r.io"}] = {true, R"({"Username":"<token>","Secret":"t"})"};
    EXPECT_EQ(found_in(world), "own:s from the credentials of docker-credential-own");
    world.helpers[{"own", "r.io"}] = {false, "credentials not found in native keychain\n"};
    EXPECT_EQ(found_in(world), ":t from the credentials of docker-credential-store");
    world.helpers[{"own", "r.io"}] = {false, "hunter2"};
    EXPECT_EQ(found_in(world),
              ":t from the credentials of docker-credential-store; credential helper docker-credential-own: failed");
    world.helpers.clear();
    EXPECT_EQ(
        found_in(world),
        "u:p from the credentials in '/h/.docker/config.json'; credential helper docker-credential-own: there is no "
        "such program in PATH; credential helper docker-credential-store: there is no such program in PATH");
}

TEST(credentials, broken_places_are_passed_over_with_a_note) {
    fake_world world;
    world.variables = {{"HOME", "/h"}};
    world.files["/h/.docker/config.json"] = "{ hunter2";
    world.broken_files["/h/.config/containers/auth.json"] =
        errno_error(EACCES, "open '/h/.config/containers/auth.json'");
    world.files["/run/containers/1000/auth.json"] = login("run");
    EXPECT_EQ(found_in(world),
              "run:p from the credentials in '/run/containers/1000/auth.json'; credentials file "
              "'/h/.docker/config.json': is not JSON (at byte 2); credentials file: open "
              "'/h/.config/containers/auth.json': Permission denied");
}

TEST(credentials, what_is_named_must_be_there) {
    const fake_world world;
    EXPECT_EQ(found_in(world, given("me", "", "/pw")), "password file: open '/pw': No such file or directory");
    EXPECT_EQ(find_credential(image, given("me", "", "/pw"), world).error().kind, error_kind::not_found);
    EXPECT_EQ(found_in(world, given("", "", "/pw")), "a password for the registry was given, but no oci.username");
    EXPECT_EQ(found_in(world, given("", "x", "")), "a password for the registry was given, but no oci.username");
    EXPECT_EQ(found_in(world, given("me", "", "")),
              "oci.username was given, but no password; it is for oci.password_file or oci.password");
    fake_world empty;
    empty.files["/pw"] = "\nsecond\n";
    EXPECT_EQ(found_in(empty, given("me", "", "/pw")), "password file '/pw': its first line is empty");
}

TEST(credentials, what_has_gone_is_said) {
    fake_world world;
    const auto gone = [&](credential_origin origin) {
        const auto again = find_again(image, origin, world);
        if (!again) {
            EXPECT_EQ(again.error().kind, error_kind::auth);
        }
        return message_of(again);
    };
    EXPECT_EQ(gone({credential_kind::given, "", ""}),
              "the password was given by hand and is in no file to be read again");
    EXPECT_EQ(gone({credential_kind::docker_config, "/c", ""}), "the credentials in '/c': not there any more");
    world.files["/c"] = login("u", "other.io");
    EXPECT_EQ(gone({credential_kind::docker_config, "/c", ""}), "the credentials in '/c': not there any more");
    EXPECT_EQ(gone({credential_kind::helper, "../evil", ""}),
              "the credentials of docker-credential-../evil: not there any more");
    EXPECT_EQ(world.asked.find("evil"), std::string::npos);
    world.helpers[{"x", "r.io"}] = {false, "credentials not found in native keychain"};
    EXPECT_EQ(gone({credential_kind::helper, "x", ""}), "the credentials of docker-credential-x: not there any more");
    EXPECT_EQ(gone({static_cast<credential_kind>(77), "x", ""}), "unknown: not there any more");
}

}  // namespace
}  // namespace nerofs::oci
