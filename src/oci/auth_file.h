// Docker's config.json and the containers tools' auth.json: who to be at which registry. Pure.
//
// Sources: docs.docker.com's and docker/cli's description of config.json, containers-auth.json(5), and
// github.com/docker/docker-credential-helpers for the helpers' protocol.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/result.h"
#include "oci/reference.h"
#include "oci/secret.h"

namespace nerofs::oci {

constexpr std::size_t auth_file_cap = 1u << 20;
constexpr std::size_t helper_answer_cap = 64u << 10;

// One of two: a user with a password, or an identity token (a refresh token of OAuth 2).
struct credential {
    std::string username;
    secret password;
    secret identity_token;
};

// What a file says about an image: ask these helpers in turn, then take the credential.
struct auth_entry {
    struct helper {
        std::string name;    // NAME of docker-credential-NAME
        std::string server;  // what to ask it for
    };
    std::vector<helper> helpers;      // credHelpers' before credsStore's
    std::optional<credential> found;  // of auths
};

// Reads the file for one image. A key of auths or credHelpers may be the registry (also as a URL, also by another name
// of Docker Hub's), or the beginning of its repository's name ("quay.io/org"); the longest counts. `path` is for
// errors. Errors: corrupt. Never any of the content but the names of members and helpers.
result<auth_entry> read_auth_file(std::span<const std::byte> bytes, std::string_view path, const reference& image);

// The answer of "docker-credential-NAME get". nullopt: it has none for this server. `succeeded`: its exit status was 0.
// Errors: corrupt, or auth when the helper failed. Never any of the content.
result<std::optional<credential>> read_helper_answer(std::string_view name, bool succeeded, std::string_view output);

// What helpers call the registry: "https://index.docker.io/v1/" for Docker Hub, else its name.
std::string helper_server(const reference& image);

// Letters, digits and . _ -, beginning with a letter or digit: no path, no option.
bool is_helper_name(std::string_view name);

}  // namespace nerofs::oci
