#include "support/origin/site.h"

#include <array>
#include <nlohmann/json.hpp>
#include <utility>

#include "codec/hex.h"
#include "codec/sha256.h"

namespace nerofs::test {
namespace {

std::string hash_of(std::string_view text) {
    return codec::to_hex(codec::sha256::of(std::as_bytes(std::span(text.data(), text.size()))));
}

std::string base64(std::string_view text) {
    constexpr std::string_view digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    std::string out;
    for (std::size_t i = 0; i < text.size(); i += 3) {
        const auto at = [&](std::size_t k) {
            return k < text.size() ? static_cast<unsigned>(static_cast<unsigned char>(text[k])) : 0u;
        };
        const unsigned group = at(i) << 16 | at(i + 1) << 8 | at(i + 2);
        out += digits[group >> 18];
        out += digits[(group >> 12) & 63];
        out += i + 1 < text.size() ? digits[(group >> 6) & 63] : '=';
        out += i + 2 < text.size() ? digits[group & 63] : '=';
    }
    return out;
}

http_answer registry_error(int status, const std::string& code) {
    return text_answer(status, R"({"errors":[{"code":")" + code + R"(","message":")" + code + R"("}]})");
}

// "/v2/NAME/KIND/REFERENCE" in its parts; empty if it isn't one.
struct registry_path {
    std::string repository;
    std::string kind;
    std::string reference;
};

registry_path split(const std::string& path) {
    for (const std::string kind : {"manifests", "blobs", "referrers"}) {
        const std::size_t at = path.rfind("/" + kind + "/");
        if (at == std::string::npos || at <= 4) continue;
        return {path.substr(4, at - 4), kind, path.substr(at + kind.size() + 2)};
    }
    return {};
}

}  // namespace

void site::add_file(const std::string& path, content bytes, std::string type) {
    const std::lock_guard lock(mutex_);
    const std::string etag = "\"" + std::to_string(bytes.size()) + "-" + std::to_string(next_++) + "\"";
    files_[path] = {std::move(bytes), std::move(type), etag};
}

std::string site::add_blob(const std::string& repository, content bytes) {
    const std::string digest = bytes.digest();
    const std::lock_guard lock(mutex_);
    blobs_[digest] = {std::move(bytes), "application/octet-stream", "\"" + digest + "\""};
    has_[repository + "@" + digest] = true;
    return digest;
}

std::string site::add_manifest(const std::string& repository, const std::string& tag, const std::string& media_type,
                               std::string bytes) {
    const content body(std::move(bytes));
    const std::string digest = body.digest();
    const std::lock_guard lock(mutex_);
    manifests_[repository + "@" + digest] = {body, media_type, "\"" + digest + "\""};
    if (!tag.empty()) tags_[repository + ":" + tag] = digest;
    return digest;
}

void site::set_auth(origin_auth auth) {
    const std::lock_guard lock(mutex_);
    auth_ = std::move(auth);
    tokens_.clear();
}

void site::set_referrers(bool on) {
    const std::lock_guard lock(mutex_);
    referrers_ = on;
}

void site::set_redirects(origin_redirects redirects) {
    const std::lock_guard lock(mutex_);
    redirects_ = redirects;
}

void site::pass_time(std::chrono::milliseconds time) {
    const std::lock_guard lock(mutex_);
    passed_ += time;
}

bool site::basic_is_right(const http_request& request) const {
    return request.header("authorization") == "Basic " + base64(auth_.user + ":" + auth_.password);
}

http_answer site::give_token(http_request request) {
    if (!auth_.identity_token.empty()) {
        request.query = request.body;
        if (request.method != "POST" || request.parameter("grant_type") != "refresh_token" ||
            request.parameter("client_id").empty() || request.parameter("refresh_token") != auth_.identity_token)
            return registry_error(401, "UNAUTHORIZED");
    } else if (!auth_.user.empty() && !basic_is_right(request)) {
        return registry_error(401, "UNAUTHORIZED");
    }
    if (request.parameter("service") != auth_.service) return registry_error(400, "UNSUPPORTED");
    const std::string number = std::to_string(next_++);
    const std::string text = "token-" + number + "-" + hash_of(number).substr(0, 16);
    tokens_[text] = {now() + auth_.token_life, request.parameter("scope")};
    const auto seconds = std::max<std::int64_t>(1, auth_.token_life.count() / 1000);
    return text_answer(200, R"({"token":")" + text + R"(","access_token":")" + text + R"(","expires_in":)" +
                                std::to_string(seconds) + "}");
}

std::optional<http_answer> site::refuse(const http_request& request, const std::string& scope) {
    const std::string given = request.header("authorization");
    if (auth_.scheme == origin_auth::kind::none) return std::nullopt;
    if (auth_.scheme == origin_auth::kind::basic) {
        if (basic_is_right(request)) return std::nullopt;
        http_answer a = registry_error(401, "UNAUTHORIZED");
        a.set("WWW-Authenticate", auth_.challenge.empty() ? R"(Basic realm="test")" : auth_.challenge);
        return a;
    }
    std::string why;
    if (given.starts_with("Bearer ")) {
        const auto found = tokens_.find(given.substr(7));
        if (found == tokens_.end() || found->second.ends <= now()) {
            why = R"(,error="invalid_token")";
        } else if (!scope.empty() && found->second.scope != scope && found->second.scope != scope + ",push") {
            why = R"(,error="insufficient_scope")";
        } else {
            return std::nullopt;
        }
    }
    http_answer a = registry_error(401, "UNAUTHORIZED");
    if (!auth_.challenge.empty()) {
        a.set("WWW-Authenticate", auth_.challenge);
        return a;
    }
    a.set("WWW-Authenticate", R"(Bearer realm="http://)" + address_ + R"(/token",service=")" + auth_.service + "\"" +
                                  (scope.empty() ? "" : R"(,scope=")" + scope + "\"") + why);
    return a;
}

std::string site::signature(const std::string& digest, const std::string& ends) const {
    return hash_of("secret of the storage\n" + digest + "\n" + ends).substr(0, 32);
}

http_answer site::redirect_to_storage(const std::string& digest) {
    const auto ends =
        std::chrono::duration_cast<std::chrono::milliseconds>((now() + redirects_.life).time_since_epoch()).count();
    const std::string path = "/storage/" + digest.substr(7) + "?X-Ends=" + std::to_string(ends) +
                             "&X-Signature=" + signature(digest, std::to_string(ends));
    http_answer a = text_answer(redirects_.status, "");
    a.set("Location", redirects_.other_port ? "http://" + storage_address_ + path : path);
    return a;
}

http_answer site::from_storage(const http_request& request) {
    const std::string digest = "sha256:" + request.path.substr(std::string_view("/storage/").size());
    const std::string ends = request.parameter("X-Ends");
    // As the big object stores do: two ways of proving oneself at once are an error.
    if (request.storage && !request.header("authorization").empty())
        return text_answer(400, "<Error/>", "application/xml");
    if (request.parameter("X-Signature") != signature(digest, ends))
        return text_answer(403, "<Error/>", "application/xml");
    if (std::chrono::steady_clock::time_point(std::chrono::milliseconds(std::stoll(ends))) <= now())
        return text_answer(redirects_.expired_status, "<Error/>", "application/xml");
    const auto found = blobs_.find(digest);
    if (found == blobs_.end()) return text_answer(404, "<Error/>", "application/xml");
    return serve_content(request, found->second.bytes, found->second.type, found->second.etag);
}

http_answer site::take_blob(const http_request& request, const std::string& repository) {
    const std::string uploads = "/v2/" + repository + "/blobs/uploads/";
    if (request.method == "POST" && request.path == uploads) {
        http_answer a = text_answer(202, "");
        a.set("Location", uploads + std::to_string(next_++) + "?state=begun");
        return a;
    }
    const std::string digest = "sha256:" + hash_of(request.body);
    if (request.method != "PUT" || request.path == uploads || request.parameter("state") != "begun" ||
        request.parameter("digest") != digest)
        return registry_error(400, "DIGEST_INVALID");
    blobs_[digest] = {request.body, "application/octet-stream", "\"" + digest + "\""};
    has_[repository + "@" + digest] = true;
    return text_answer(201, "");
}

http_answer site::take_manifest(const http_request& request, const std::string& repository, const std::string& name) {
    const std::string digest = "sha256:" + hash_of(request.body);
    if (request.method != "PUT" || (name.starts_with("sha256:") && name != digest))
        return registry_error(400, "DIGEST_INVALID");
    manifests_[repository + "@" + digest] = {request.body, request.header("content-type"), "\"" + digest + "\""};
    if (name != digest) tags_[repository + ":" + name] = digest;
    http_answer a = text_answer(201, "");
    const auto manifest = nlohmann::json::parse(request.body, nullptr, false);
    if (!referrers_ || !manifest.is_object() || !manifest.contains("subject")) return a;
    const std::string subject = manifest["subject"]["digest"];
    referring_[repository + "@" + subject].push_back({manifest.value("artifactType", ""), digest, request.body.size()});
    a.set("OCI-Subject", subject);
    return a;
}

http_answer site::list_referrers(const http_request& request, const std::string& repository,
                                 const std::string& subject) {
    if (!referrers_) return text_answer(404, "404 page not found\n", "text/plain");
    nlohmann::json list = nlohmann::json::array();
    for (const referrer& r : referring_[repository + "@" + subject])
        if (const std::string wanted = request.parameter("artifactType"); wanted.empty() || wanted == r.type)
            list.push_back({{"mediaType", "application/vnd.oci.image.manifest.v1+json"},
                            {"artifactType", r.type},
                            {"digest", r.digest},
                            {"size", r.size}});
    return text_answer(200, nlohmann::json{{"schemaVersion", 2}, {"manifests", list}}.dump(),
                       "application/vnd.oci.image.index.v1+json");
}

http_answer site::registry(const http_request& request) {
    if (request.path == "/v2/" || request.path == "/v2") {
        if (auto a = refuse(request, "")) return *a;
        return text_answer(200, "{}");
    }
    registry_path path = split(request.path);
    if (path.kind.empty()) return registry_error(404, "NOT_FOUND");
    const bool writes = request.method == "POST" || request.method == "PUT";
    if (auto a = refuse(request, "repository:" + path.repository + (writes ? ":pull,push" : ":pull"))) return *a;
    if (writes && path.kind == "blobs") return take_blob(request, path.repository);
    if (writes && path.kind == "manifests") return take_manifest(request, path.repository, path.reference);
    if (path.kind == "referrers") return list_referrers(request, path.repository, path.reference);
    if (path.kind == "blobs") {
        const auto found = blobs_.find(path.reference);
        if (found == blobs_.end() || !has_.contains(path.repository + "@" + path.reference))
            return registry_error(404, "BLOB_UNKNOWN");
        if (redirects_.on) return redirect_to_storage(path.reference);
        http_answer a = serve_content(request, found->second.bytes, found->second.type, found->second.etag);
        a.set("Docker-Content-Digest", path.reference);
        return a;
    }
    if (const auto tag = tags_.find(path.repository + ":" + path.reference); tag != tags_.end())
        path.reference = tag->second;
    const auto found = manifests_.find(path.repository + "@" + path.reference);
    if (found == manifests_.end()) return registry_error(404, "MANIFEST_UNKNOWN");
    http_answer a = serve_content(request, found->second.bytes, found->second.type, found->second.etag);
    a.set("Docker-Content-Digest", path.reference);
    return a;
}

http_answer site::answer(const http_request& request) {
    const std::lock_guard lock(mutex_);
    if (request.path == "/token") return give_token(request);
    if (request.path.starts_with("/storage/")) return from_storage(request);
    if (request.path.starts_with("/v2")) return registry(request);
    if (auto a = refuse(request, "")) return *a;
    const auto found = files_.find(request.path);
    if (found == files_.end()) return text_answer(404, "not found\n", "text/plain");
    return serve_content(request, found->second.bytes, found->second.type, found->second.etag);
}

}  // namespace nerofs::test
