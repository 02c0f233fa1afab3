#include "oci/registry.h"

#include <fmt/format.h>

#include <future>
#include <random>
#include <utility>

#include "http/retry.h"
#include "oci/digest_check.h"
#include "oci/media_types.h"
#include "oci/registry_error.h"
#include "oci/text.h"

namespace nerofs::oci {
namespace {

using clock = std::chrono::steady_clock;

constexpr unsigned most_attempts = 5;
constexpr unsigned most_refusals =
    3;  // of one request: the first, without a token; one whose token just ended; and one more
constexpr unsigned most_redirects = 5;

struct fetched_document {
    digest name;  // computed
    document content;
};

using rejection = std::optional<source::authorizer::rejection>;

// One resolve(): the steps, each waited for.
class resolving {
  public:
    resolving(http::client& client, const reference& image, resolve_options options)
        : client_(client), image_(image), options_(std::move(options)) {}

    result<resolved_blob> run();

  private:
    result<fetched_document> fetch(const std::string& name, const descriptor* expected);
    http::outcome get(const std::string& path);
    http::outcome get_by(bool secure, const std::string& path);
    void begin_auth(bool secure);
    result<http::fields> authorization_for(const http::url& target, const rejection& refused);
    status wait_until(http::time_point when);
    error told(http::failure why) const;
    result<http::url> url_of(bool secure, const std::string& path) const;

    http::client& client_;
    const reference& image_;
    resolve_options options_;
    std::optional<bool> secure_;  // once the registry has answered
    std::shared_ptr<registry_auth> auth_;
};

// Calls f with a callback and waits until that is called.
template <class T, class F>
T wait_for(F&& f) {
    auto promise = std::make_shared<std::promise<T>>();
    auto future = promise->get_future();
    f([promise](T value) { promise->set_value(std::move(value)); });
    return future.get();
}

http::failure as_failure(error e) {
    http::failure f;
    f.why = std::move(e);
    f.cause = http::failure_cause::caller;
    return f;
}

double chance() {
    thread_local std::minstd_rand generator{std::random_device{}()};
    return std::uniform_real_distribution<double>(0, 1)(generator);
}

result<http::url> resolving::url_of(bool secure, const std::string& path) const {
    return http::parse_url(
        fmt::format("{}://{}/v2/{}/{}", secure ? "https" : "http", api_host(image_), image_.repository, path));
}

void resolving::begin_auth(bool secure) {
    registry_auth_options o;
    o.image = image_;
    o.secure = secure;
    o.rule = options_.plain_allowed ? transport_rule::plain_allowed : transport_rule::https_only;
    o.who.origin = options_.who.origin;
    o.who.passed_over = options_.who.passed_over;
    if (const auto& who = options_.who.value)
        o.who.value = credential{who->username, who->password.copy(), who->identity_token.copy()};
    o.renew = options_.renew;
    auth_ = registry_auth::make(client_, std::move(o));
}

result<http::fields> resolving::authorization_for(const http::url& target, const rejection& refused) {
    return wait_for<result<http::fields>>([&](auto done) { auth_->authorize(target, refused, std::move(done)); });
}

status resolving::wait_until(http::time_point when) {
    return wait_for<status>([&](auto done) { client_.at(when, std::move(done)); });
}

// One GET with all that belongs to it: authorization, redirects, further attempts.
http::outcome resolving::get_by(bool secure, const std::string& path) {
    auto first = url_of(secure, path);
    if (!first) return tl::unexpected(as_failure(std::move(first).error()));
    http::url target = *first;
    unsigned attempts = 0;
    unsigned refusals = 0;
    unsigned redirects = 0;
    rejection refused;
    while (true) {
        auto allowed = authorization_for(target, std::exchange(refused, {}));
        if (!allowed) return tl::unexpected(as_failure(std::move(allowed).error()));
        http::request r;
        r.target = target;
        r.headers.add("Accept", media_types::accepted);
        r.secrets = *allowed;
        r.most_body_bytes = document_bytes_cap;
        r.deadline = options_.deadline;
        http::outcome answer =
            wait_for<http::outcome>([&](auto done) { client_.start(std::move(r), std::move(done)); });
        if (answer && answer->status == 200) return answer;
        if (answer) {
            if (!answer->location || ++redirects > most_redirects)
                return tl::unexpected(as_failure(make_error(
                    error_kind::permanent,
                    fmt::format("the registry answers with status {}, which leads nowhere", answer->status))));
            target = *answer->location;
            continue;
        }
        const http::failure& why = answer.error();
        const bool by_registry = http::same_origin(target, *first);
        if ((why.status == 401 || why.status == 403) && by_registry && ++refusals < most_refusals) {
            refused = {why.status, why.challenges, std::move(*allowed)};
            continue;
        }
        // Whether there is https at all isn't known yet: the other scheme is tried instead of this one again.
        const bool untried = !secure_ && secure && why.cause == http::failure_cause::transport;
        if (why.why.kind != error_kind::retryable || untried || ++attempts >= most_attempts) return answer;
        std::optional<std::chrono::milliseconds> floor;
        if (why.retry_after) floor = *why.retry_after;
        const auto when = clock::now() + http::retry_delay({}, attempts - 1, floor, chance());
        if (when >= options_.deadline) return answer;
        if (auto waited = wait_until(when); !waited) return tl::unexpected(as_failure(std::move(waited).error()));
        target = *first;
        redirects = 0;
    }
}

http::outcome resolving::get(const std::string& path) {
    if (secure_) return get_by(*secure_, path);
    begin_auth(true);
    http::outcome answer = get_by(true, path);
    const bool no_https = !answer && answer.error().cause == http::failure_cause::transport;
    const bool may_be_plain = options_.plain_allowed || is_loopback(api_host(image_));
    if (no_https && may_be_plain) {
        secure_ = false;
        begin_auth(false);
        return get_by(false, path);
    }
    if (!no_https) secure_ = true;
    return answer;
}

error resolving::told(http::failure why) const {
    if (why.cause != http::failure_cause::status) return std::move(why.why);
    const std::string said = registry_error_text(why.body);
    if (why.why.kind == error_kind::not_found)
        return make_error(error_kind::not_found, fmt::format("there is no such image in the registry{}{}{}",
                                                             said.empty() ? "" : " (", said, said.empty() ? "" : ")"));
    if (!said.empty()) why.why.text += " (" + said + ")";
    return std::move(why.why);
}

result<fetched_document> resolving::fetch(const std::string& name, const descriptor* expected) {
    http::outcome answer = get("manifests/" + name);
    if (!answer) return fail(told(std::move(answer).error()));
    const auto bytes = std::as_bytes(std::span(answer->body.data(), answer->body.size()));
    fetched_document found;
    const auto named = parse_digest(name);
    if (expected != nullptr && expected->size != bytes.size())
        return fail(error_kind::corrupt,
                    fmt::format("manifest {}: has {} bytes, but must have {}", name, bytes.size(), expected->size));
    if (named) {
        NEROFS_CHECK(check_digest(bytes, *named, "manifest"));
        found.name = *named;
    } else {
        found.name = digest_of(bytes);
        const std::string* const said = answer->headers.find("Docker-Content-Digest");
        if (const auto told_digest = said != nullptr ? parse_digest(*said) : result<digest>(fail(error{})))
            NEROFS_CHECK(check_digest(bytes, *told_digest, "manifest"));
    }
    const std::string* const type = answer->headers.find("Content-Type");
    NEROFS_TRY(found.content, parse_document(bytes, type != nullptr ? std::string_view(*type) : std::string_view()));
    return found;
}

result<resolved_blob> resolving::run() {
    NEROFS_TRY(fetched_document found, fetch(manifest_name(image_), nullptr));
    for (std::size_t depth = 0; std::holds_alternative<image_index>(found.content); ++depth) {
        if (depth == index_depth_cap) return fail(error_kind::corrupt, "indexes lie in indexes without end");
        const image_index index = std::get<image_index>(std::move(found.content));
        NEROFS_TRY(const std::size_t number, select_manifest(index, options_.wanted));
        const descriptor& chosen = index.manifests[number];
        NEROFS_TRY(found, fetch(chosen.digest.to_string(), &chosen));
    }
    const auto& manifest = std::get<image_manifest>(found.content);
    NEROFS_TRY(const std::size_t number, select_layer(manifest, options_.layer));
    resolved_blob blob;
    blob.image = image_;
    blob.manifest = found.name;
    blob.layer = manifest.layers[number];
    blob.layer_number = number;
    NEROFS_TRY(blob.url, url_of(*secure_, "blobs/" + blob.layer.blob.digest.to_string()));
    blob.auth = auth_;
    return blob;
}

}  // namespace

result<resolved_blob> resolve(http::client& client, const reference& image, resolve_options options) {
    auto found = resolving(client, image, std::move(options)).run();
    if (!found) return fail(std::move(found).error().in(fmt::format("image '{}'", to_string(image))));
    return found;
}

}  // namespace nerofs::oci
