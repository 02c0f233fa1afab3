#include "registry/referrers.h"

#include <fmt/format.h>

#include <span>
#include <utility>

#include "oci/challenge.h"
#include "oci/digest_check.h"
#include "oci/document.h"
#include "oci/index_artifact.h"
#include "oci/media_types.h"
#include "registry/exchange.h"

namespace nerofs::registry {
namespace {

using http::failure_cause;
using http::method;

std::span<const std::byte> bytes_of(std::string_view text) {
    return std::as_bytes(std::span(text.data(), text.size()));
}

bool is_missing(const http::failure& f) {
    return f.cause == failure_cause::status && f.why.kind == error_kind::not_found;
}

std::string path_of(const session& with, std::string_view kind, std::string_view name) {
    return fmt::format("{}/{}/{}", with.image().repository, kind, name);
}

// The list of referrers that is kept under a tag; empty when there is none.
result<std::string> tagged_list(session& with, const oci::digest& subject, const patience& p) {
    http::outcome found = exchange(with, p).get(path_of(with, "manifests", oci::referrers_tag(subject)),
                                                oci::media_types::oci_index, oci::document_bytes_cap);
    if (found) return std::move(found->body);
    if (is_missing(found.error())) return std::string();
    return fail(std::move(found).error().why);
}

// Whether the registry says that it lists the manifest for its subject.
result<bool> put_manifest(session& with, std::string_view name, std::string_view type, std::string bytes,
                          const patience& p) {
    const http::outcome done =
        exchange(with, p).insist({.path = path_of(with, "manifests", name),
                                  .verb = method::put,
                                  .content_type = std::string(type),
                                  .body = std::make_shared<const std::string>(std::move(bytes))});
    if (!done) return fail(done.error().why);
    return done->headers.find("OCI-Subject") != nullptr;
}

}  // namespace

result<std::vector<oci::descriptor>> find_referrers(session& with, const oci::digest& subject,
                                                    std::string_view artifact_type, const patience& p) {
    const std::string path = fmt::format("{}?artifactType={}", path_of(with, "referrers", subject.to_string()),
                                         oci::percent_encoded(artifact_type));
    http::outcome listed = exchange(with, p).get(path, oci::media_types::oci_index, oci::document_bytes_cap);
    std::string list;
    if (listed) {
        list = std::move(listed->body);
    } else if (listed.error().cause == failure_cause::status && listed.error().why.kind != error_kind::auth) {
        NEROFS_TRY(list, tagged_list(with, subject, p));
        if (list.empty()) return std::vector<oci::descriptor>();
    } else {
        return fail(std::move(listed).error().why);
    }
    return oci::read_referrers(bytes_of(list), artifact_type);
}

result<std::string> fetch_small(session& with, stored_as how, const oci::descriptor& what, std::size_t most_bytes,
                                const patience& p) {
    const std::string name = what.digest.to_string();
    const bool is_blob = how == stored_as::blob;
    if (what.size > most_bytes)
        return fail(error_kind::corrupt, fmt::format("{}: {} bytes are too many", name, what.size));
    http::outcome found =
        exchange(with, p).get(path_of(with, is_blob ? "blobs" : "manifests", name),
                              is_blob ? "*/*" : oci::media_types::accepted, static_cast<std::size_t>(what.size));
    if (!found) return fail(std::move(found).error().why);
    NEROFS_CHECK(oci::check_digest(bytes_of(found->body), what.digest, is_blob ? "blob" : "manifest"));
    return std::move(found->body);
}

status push_blob(session& with, const oci::digest& name, std::shared_ptr<const std::string> bytes, const patience& p) {
    exchange asking(with, p);
    const std::string path = path_of(with, "blobs", name.to_string());
    const http::outcome there = asking.insist({.path = path, .verb = method::head});
    if (there) return {};
    if (!is_missing(there.error())) return fail(there.error().why);
    const std::string uploads = path_of(with, "blobs", "uploads/");
    const http::outcome begun = asking.insist({.path = uploads, .verb = method::post});
    if (!begun) return fail(begun.error().why);
    const std::string* const location = begun->headers.find("Location");
    if (location == nullptr) return fail(error_kind::corrupt, "the registry names no place for an upload");
    NEROFS_TRY(const http::url base, with.url(with.secure().value_or(true), uploads));
    NEROFS_TRY(http::url target, http::resolve(base, *location));
    target.target += (target.target.find('?') == std::string::npos ? "?digest=" : "&digest=") + name.to_string();
    const http::outcome done = asking.insist({.path = {},
                                              .target = std::move(target),
                                              .verb = method::put,
                                              .content_type = "application/octet-stream",
                                              .body = std::move(bytes)});
    return done ? status() : fail(done.error().why);
}

result<oci::digest> push_artifact(session& with, const oci::digest& subject, std::string manifest,
                                  std::string_view artifact_type, const patience& p) {
    oci::descriptor artifact;
    artifact.media_type = oci::media_types::oci_manifest;
    artifact.artifact_type = artifact_type;
    artifact.digest = oci::digest_of(bytes_of(manifest));
    artifact.size = manifest.size();
    NEROFS_TRY(const bool listed,
               put_manifest(with, artifact.digest.to_string(), oci::media_types::oci_manifest, std::move(manifest), p));
    if (!listed) {
        NEROFS_TRY(const std::string before, tagged_list(with, subject, p));
        NEROFS_TRY(std::string list, oci::add_referrer(bytes_of(before), artifact));
        if (list != before)
            NEROFS_CHECK(
                put_manifest(with, oci::referrers_tag(subject), oci::media_types::oci_index, std::move(list), p));
    }
    return artifact.digest;
}

}  // namespace nerofs::registry
