#include "oci/credentials.h"

#include <fmt/format.h>

#include <span>
#include <utility>

#include "oci/text.h"

namespace nerofs::oci {
namespace {

constexpr std::size_t password_file_cap = 64u << 10;

struct place {
    credential_kind kind;
    std::string path;
};

std::vector<place> places(const credential_world& world) {
    using kind = credential_kind;
    std::vector<place> all;
    const std::string home = world.home();
    if (const auto directory = world.variable("DOCKER_CONFIG"))
        all.push_back({kind::docker_config, *directory + "/config.json"});
    else if (!home.empty())
        all.push_back({kind::docker_config, home + "/.docker/config.json"});
    if (const auto file = world.variable("REGISTRY_AUTH_FILE")) {
        all.push_back({kind::containers_auth, *file});
        return all;
    }
    if (const auto runtime = world.variable("XDG_RUNTIME_DIR"))
        all.push_back({kind::containers_auth, *runtime + "/containers/auth.json"});
    if (const auto config = world.variable("XDG_CONFIG_HOME"))
        all.push_back({kind::containers_auth, *config + "/containers/auth.json"});
    else if (!home.empty())
        all.push_back({kind::containers_auth, home + "/.config/containers/auth.json"});
    all.push_back({kind::containers_auth, fmt::format("/run/containers/{}/auth.json", world.user_id())});
    return all;
}

result<credential> read_password_file(const std::string& path, const std::string& username,
                                      const credential_world& world) {
    const std::string what = fmt::format("password file {}", quoted(path));
    auto content = world.read_file(path, password_file_cap);
    if (!content) return fail(std::move(content).error().in("password file"));
    const std::size_t end = content->find_first_of("\r\n");
    credential found{username, secret(std::string_view(*content).substr(0, end)), {}};
    wipe(*content);
    if (found.password.empty()) return fail(error_kind::usage, fmt::format("{}: its first line is empty", what));
    return found;
}

result<std::optional<credential>> ask_helper(const std::string& name, const std::string& server,
                                             const credential_world& world) {
    auto run = world.run_helper(name, server);
    if (!run) return fail(std::move(run).error().in(fmt::format("credential helper docker-credential-{}", name)));
    auto answer = read_helper_answer(name, run->succeeded, run->output);
    wipe(run->output);
    return answer;
}

// What a file says, read and taken apart; nullopt when there is no such file.
result<std::optional<auth_entry>> look_into(const std::string& path, const reference& image,
                                            const credential_world& world) {
    auto content = world.read_file(path, auth_file_cap);
    if (!content) {
        if (content.error().kind == error_kind::not_found) return std::optional<auth_entry>();
        return fail(std::move(content).error().in("credentials file"));
    }
    auto entry = read_auth_file(std::as_bytes(std::span(content->data(), content->size())), path, image);
    wipe(*content);
    if (!entry) return fail(std::move(entry).error());
    return std::optional(std::move(*entry));
}

// One place; true when it had a credential.
bool search(const place& where, const reference& image, const credential_world& world, found_credential& into) {
    auto entry = look_into(where.path, image, world);
    if (!entry) {
        into.passed_over.push_back(entry.error().message());
        return false;
    }
    if (!*entry) return false;
    for (const auto& [name, server] : (*entry)->helpers) {
        auto answer = ask_helper(name, server, world);
        if (!answer) {
            into.passed_over.push_back(answer.error().message());
        } else if (*answer) {
            into.value = std::move(*answer);
            into.origin = {credential_kind::helper, name, {}};
            return true;
        }
    }
    if (!(*entry)->found) return false;
    into.value = std::move((*entry)->found);
    into.origin = {where.kind, where.path, {}};
    return true;
}

}  // namespace

std::string_view to_string(credential_kind kind) {
    switch (kind) {
        case credential_kind::anonymous:
            return "anonymous";
        case credential_kind::given:
            return "given";
        case credential_kind::password_file:
            return "password file";
        case credential_kind::docker_config:
            return "docker config";
        case credential_kind::containers_auth:
            return "containers auth";
        case credential_kind::helper:
            return "helper";
    }
    return "unknown";
}

std::string to_string(const credential_origin& origin) {
    switch (origin.kind) {
        case credential_kind::anonymous:
            return "no credentials";
        case credential_kind::given:
            return "the credentials of -o oci.username and oci.password";
        case credential_kind::password_file:
            return fmt::format("the password in {}", quoted(origin.place));
        case credential_kind::docker_config:
        case credential_kind::containers_auth:
            return fmt::format("the credentials in {}", quoted(origin.place));
        case credential_kind::helper:
            return fmt::format("the credentials of docker-credential-{}", shown(origin.place));
    }
    return "unknown";
}

result<found_credential> find_credential(const reference& image, const given_credential& given,
                                         const credential_world& world) {
    found_credential found;
    if (!given.password.empty() || !given.password_file.empty()) {
        if (given.username.empty())
            return fail(error_kind::usage, "a password for the registry was given, but no oci.username");
        if (!given.password.empty()) {
            found.value = credential{given.username, given.password.copy(), {}};
            found.origin = {credential_kind::given, {}, {}};
            return found;
        }
        NEROFS_TRY(found.value, read_password_file(given.password_file, given.username, world));
        found.origin = {credential_kind::password_file, given.password_file, given.username};
        return found;
    }
    if (!given.username.empty())
        return fail(make_error(error_kind::usage, "oci.username was given, but no password")
                        .with_hint("it is for oci.password_file or oci.password"));
    for (const place& where : places(world))
        if (search(where, image, world, found)) break;
    return found;
}

result<found_credential> find_again(const reference& image, const credential_origin& origin,
                                    const credential_world& world) {
    found_credential found;
    found.origin = origin;
    const auto gone = [&] { return fail(error_kind::auth, fmt::format("{}: not there any more", to_string(origin))); };
    switch (origin.kind) {
        case credential_kind::anonymous:
            return found;
        case credential_kind::given:
            return fail(error_kind::auth, "the password was given by hand and is in no file to be read again");
        case credential_kind::password_file: {
            NEROFS_TRY(found.value, read_password_file(origin.place, origin.username, world));
            return found;
        }
        case credential_kind::docker_config:
        case credential_kind::containers_auth: {
            NEROFS_TRY(auto entry, look_into(origin.place, image, world));
            if (!entry || !entry->found) return gone();
            found.value = std::move(entry->found);
            return found;
        }
        case credential_kind::helper: {
            // The name may come from a record that somebody wrote.
            if (!is_helper_name(origin.place)) return gone();
            NEROFS_TRY(found.value, ask_helper(origin.place, helper_server(image), world));
            if (!found.value) return gone();
            return found;
        }
    }
    return gone();
}

}  // namespace nerofs::oci
