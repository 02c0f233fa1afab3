#include "oci/auth_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

#include "oci/challenge.h"
#include "oci/json.h"
#include "oci/text.h"

namespace nerofs::oci {
namespace {

constexpr std::string_view hub = "docker.io";
constexpr std::string_view hub_server = "https://index.docker.io/v1/";
constexpr std::array<std::string_view, 4> hub_names{"docker.io", "index.docker.io", "registry-1.docker.io",
                                                    "registry.hub.docker.com"};
constexpr std::size_t longest_helper_name = 64;
constexpr std::string_view token_user = "<token>";  // the helpers' sign that the secret is an identity token

// A key taken apart: the host it is for, and the part of a repository's name behind it, if any.
struct key_parts {
    std::string registry;
    std::string_view repository;
};

key_parts take_apart(std::string_view key) {
    const bool is_url = key.starts_with("https://") || key.starts_with("http://");
    if (is_url) key.remove_prefix(key.find("://") + 3);
    const std::size_t slash = std::min(key.find('/'), key.size());
    key_parts parts{lower_case(key.substr(0, slash)), key.substr(std::min(slash + 1, key.size()))};
    while (parts.repository.ends_with('/')) parts.repository.remove_suffix(1);
    // A URL's path is the API's ("/v1/"), as old Docker wrote it, and never a namespace.
    if (is_url || parts.repository == "v1" || parts.repository == "v2") parts.repository = {};
    if (std::find(hub_names.begin(), hub_names.end(), parts.registry) != hub_names.end()) parts.registry = hub;
    return parts;
}

// How closely a key names the image: nullopt not at all, 0 its registry, else the length of the repository's part.
std::optional<std::size_t> closeness(std::string_view key, const reference& image) {
    const key_parts parts = take_apart(key);
    if (parts.registry != image.registry) return std::nullopt;
    if (parts.repository.empty()) return 0;
    const std::string_view name = image.repository;
    if (!name.starts_with(parts.repository)) return std::nullopt;
    const bool whole_parts = name.size() == parts.repository.size() || name[parts.repository.size()] == '/';
    return whole_parts ? std::optional(parts.repository.size()) : std::nullopt;
}

// The names of the registry that are no other spelling come before those that are.
bool is_plain(std::string_view key, const reference& image) {
    return key == image.registry || key == repository_name(image);
}

// The closest member for the image that `usable` likes.
const json_member* closest(const json* object, const reference& image, bool (*usable)(const json&)) {
    const json_member* best = nullptr;
    std::pair<std::size_t, bool> best_rank;
    if (object == nullptr) return nullptr;
    for (const json_member& member : object->members()) {
        const auto close = closeness(member.name, image);
        if (!close || !usable(member.value)) continue;
        const std::pair rank(*close, is_plain(member.name, image));
        if (best != nullptr && rank <= best_rank) continue;
        best = &member;
        best_rank = rank;
    }
    return best;
}

std::string_view text_in(const json& object, std::string_view name) {
    const json* const value = object.find(name);
    return value == nullptr ? std::string_view() : value->text();
}

// Docker leaves {} behind when the credentials went to a store.
bool says_something(const json& value) {
    for (const std::string_view name : {"auth", "identitytoken", "username", "password"})
        if (!text_in(value, name).empty()) return true;
    return false;
}

bool is_text(const json& value) {
    return value.is(json::kind::text) && !value.text().empty();
}

std::optional<credential> read_entry(const json& value) {
    credential found;
    found.username = text_in(value, "username");
    found.password = secret(text_in(value, "password"));
    found.identity_token = secret(text_in(value, "identitytoken"));
    if (const std::string_view packed = text_in(value, "auth"); !packed.empty()) {
        auto pair = from_base64(trimmed(packed));
        if (!pair) return std::nullopt;
        const std::size_t colon = pair->find(':');
        if (colon == std::string::npos) {
            wipe(*pair);
            return std::nullopt;
        }
        found.username = pair->substr(0, colon);
        // Old Docker padded the pair with zeros.
        found.password = secret(std::string_view(*pair).substr(colon + 1, pair->find_last_not_of('\0') - colon));
        wipe(*pair);
    }
    if (!found.identity_token.empty()) {
        found.password = secret();
        return found;
    }
    if (found.username.empty() && found.password.empty()) return std::nullopt;
    return found;
}

}  // namespace

std::string helper_server(const reference& image) {
    return image.registry == hub ? std::string(hub_server) : image.registry;
}

bool is_helper_name(std::string_view name) {
    const auto letter = [](char c) { return is_word(c) || c == '.' || c == '-'; };
    return name.size() <= longest_helper_name && only(name, letter) && name[0] != '.' && name[0] != '-' &&
           name[0] != '_';
}

result<auth_entry> read_auth_file(std::span<const std::byte> bytes, std::string_view path, const reference& image) {
    const std::string what = fmt::format("credentials file {}", quoted(path));
    const auto wrong = [&](std::string_view why) {
        return fail(error_kind::corrupt, fmt::format("{}: {}", what, why));
    };
    NEROFS_TRY(const json whole, parse_json(bytes, what, {.bytes = auth_file_cap, .depth = 16, .values = 16384}));
    if (!whole.is(json::kind::object)) return wrong("is no object");
    for (const std::string_view name : {"auths", "credHelpers"})
        if (const json* const member = whole.find(name); member != nullptr && !member->is(json::kind::object))
            return wrong(fmt::format("{} is no object", name));

    auth_entry entry;
    const auto add_helper = [&](std::string_view name) -> status {
        if (!is_helper_name(name)) return wrong(fmt::format("{} is no name of a credential helper", quoted(name)));
        const bool known = std::any_of(entry.helpers.begin(), entry.helpers.end(),
                                       [&](const auth_entry::helper& helper) { return helper.name == name; });
        if (!known) entry.helpers.push_back({std::string(name), helper_server(image)});
        return {};
    };
    if (const json_member* const helper = closest(whole.find("credHelpers"), image, is_text))
        NEROFS_CHECK(add_helper(helper->value.text()));
    if (const json* const store = whole.find("credsStore"); store != nullptr && is_text(*store))
        NEROFS_CHECK(add_helper(store->text()));
    if (const json_member* const member = closest(whole.find("auths"), image, says_something)) {
        entry.found = read_entry(member->value);
        if (!entry.found) return wrong(fmt::format("the entry {} holds no user and password", quoted(member->name)));
    }
    return entry;
}

result<std::optional<credential>> read_helper_answer(std::string_view name, bool succeeded, std::string_view output) {
    const std::string what = fmt::format("credential helper docker-credential-{}", name);
    if (!succeeded) {
        // The helpers' common library says so on stdout, with exit status 1.
        for (const std::string_view none :
             {"credentials not found in native keychain", "no credentials server URL", "no credentials username"})
            if (trimmed(output).starts_with(none)) return std::optional<credential>();
        return fail(error_kind::auth, fmt::format("{}: failed", what));
    }
    NEROFS_TRY(const json whole, parse_json(std::as_bytes(std::span(output.data(), output.size())), what,
                                            {.bytes = helper_answer_cap, .depth = 8, .values = 256}));
    const std::string_view username = text_in(whole, "Username");
    const std::string_view value = text_in(whole, "Secret");
    if (value.empty()) return std::optional<credential>();
    credential found;
    if (username == token_user) {
        found.identity_token = secret(value);
    } else {
        found.username = username;
        found.password = secret(value);
    }
    return std::optional(std::move(found));
}

}  // namespace nerofs::oci
