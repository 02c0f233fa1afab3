// Who to be at a registry: found where people and tools keep it, remembered by place and never by value.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "oci/auth_file.h"
#include "oci/reference.h"
#include "oci/secret.h"

namespace nerofs::oci {

// The world as far as credentials are in it; tests bring their own.
class credential_world {
  public:
    virtual ~credential_world() = default;

    // A variable of the environment; nullopt when it isn't set or empty.
    virtual std::optional<std::string> variable(const std::string& name) const = 0;
    // The caller's home directory; empty when there is none.
    virtual std::string home() const = 0;
    virtual unsigned user_id() const = 0;
    // All of a file. Kind not_found when there is none; `most` bytes are the most.
    virtual result<std::string> read_file(const std::string& path, std::size_t most) const = 0;

    struct helper_run {
        bool succeeded = false;  // exit status 0
        std::string output;      // stdout, at most helper_answer_cap bytes
    };
    // Runs docker-credential-NAME get with `server` on its stdin. Blocks. Errors: not_found when there is no such
    // program, timeout, retryable, corrupt when it says too much.
    virtual result<helper_run> run_helper(const std::string& name, const std::string& server) const = 0;
};

// The process' environment and files. Helpers are looked for in the absolute directories of PATH and run without a
// shell, in a session of their own that is killed at the deadline; their stderr is dropped.
std::unique_ptr<credential_world> system_world(std::chrono::milliseconds helper_deadline = std::chrono::seconds(15));

enum class credential_kind : std::uint8_t {
    anonymous,      // there is none; place is empty
    given,          // oci.username and oci.password; place is empty: whoever holds it must keep it in memory
    password_file,  // oci.username and oci.password_file; place is its path
    docker_config,  // an entry of a config.json or auth.json; place is its path
    containers_auth,
    helper,  // place is the helper's NAME
};
std::string_view to_string(credential_kind kind);

// Where a credential was found. Holds no secret: it may be in records and logs.
struct credential_origin {
    credential_kind kind = credential_kind::anonymous;
    std::string place;
    std::string username;  // of password_file, which holds only the password
    friend bool operator==(const credential_origin&, const credential_origin&) = default;
};

// "the entry in '/root/.docker/config.json'", for messages.
std::string to_string(const credential_origin& origin);

struct found_credential {
    std::optional<credential> value;  // nullopt: anonymous
    credential_origin origin;
    // Places that should have been able to tell, and why they couldn't ("credentials file '...': permission denied"):
    // to be told when the registry then refuses.
    std::vector<std::string> passed_over;
};

// What the command line says.
struct given_credential {
    std::string username;
    secret password;
    std::string password_file;
};

// In this order: given; password file; docker's config.json ($DOCKER_CONFIG, else ~/.docker); the containers tools'
// auth.json ($REGISTRY_AUTH_FILE, else $XDG_RUNTIME_DIR/containers, ~/.config/containers, /run/containers/UID). In each
// file credHelpers count before credsStore, and that before auths. What can't be read there is passed over with a note;
// only what the command line names must be there. Errors: usage, and what reading a password file can say.
result<found_credential> find_credential(const reference& image, const given_credential& given,
                                         const credential_world& world);

// The same credential again, in another process or later (it may have changed there). Errors: auth when it isn't there
// any more, or was given by hand.
result<found_credential> find_again(const reference& image, const credential_origin& origin,
                                    const credential_world& world);

}  // namespace nerofs::oci
