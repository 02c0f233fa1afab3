#include "registry/resolve.h"

#include <fmt/format.h>

#include <algorithm>
#include <span>
#include <utility>
#include <variant>

#include "oci/digest_check.h"
#include "oci/document.h"
#include "oci/media_types.h"
#include "oci/registry_error.h"
#include "registry/exchange.h"

namespace nerofs::registry {
namespace {

struct fetched {
    oci::digest name;  // proven
    std::uint64_t size = 0;
    oci::document content;
};

// Of bytes that only a tag names. The header can make it one of another algorithm, but takes nobody's place in
// checking.
result<oci::digest> name_of(std::span<const std::byte> bytes, const http::fields& headers) {
    const std::string* const said = headers.find("Docker-Content-Digest");
    if (said == nullptr) return oci::digest_of(bytes);
    auto name = oci::parse_digest(*said);
    if (!name) return oci::digest_of(bytes);
    NEROFS_CHECK(oci::check_digest(bytes, *name, "manifest"));
    return name;
}

const std::string& media_type_of(const oci::document& d) {
    return std::visit([](const auto& one) -> const std::string& { return one.media_type; }, d);
}

error told(http::failure f) {
    if (f.why.kind != error_kind::not_found || f.cause != http::failure_cause::status) return std::move(f.why);
    const std::string said = oci::registry_error_text(f.body);
    return make_error(error_kind::not_found, fmt::format("the registry has no such image{}{}{}",
                                                         said.empty() ? "" : " (", said, said.empty() ? "" : ")"));
}

class resolving {
  public:
    resolving(session& with, const patience& p) : image_(with.image()), exchange_(with, p) {}

    result<resolved_image> run(const oci::platform& wanted);

  private:
    result<fetched> fetch(const std::string& name, std::size_t most_bytes);
    result<fetched> fetch(const oci::descriptor& what);

    const oci::reference& image_;
    exchange exchange_;
};

result<fetched> resolving::fetch(const std::string& name, std::size_t most_bytes) {
    http::outcome answer =
        exchange_.get(fmt::format("{}/manifests/{}", image_.repository, name), oci::media_types::accepted, most_bytes);
    if (!answer) return fail(told(std::move(answer).error()));
    const auto bytes = std::as_bytes(std::span(answer->body.data(), answer->body.size()));
    fetched found;
    found.size = bytes.size();
    if (auto named = oci::parse_digest(name)) {
        found.name = std::move(*named);
        NEROFS_CHECK(oci::check_digest(bytes, found.name, "manifest"));
    } else {
        NEROFS_TRY(found.name, name_of(bytes, answer->headers));
    }
    const std::string* const type = answer->headers.find("Content-Type");
    NEROFS_TRY(found.content, oci::parse_document(bytes, type == nullptr ? std::string_view() : *type));
    return found;
}

result<fetched> resolving::fetch(const oci::descriptor& what) {
    const std::string name = what.digest.to_string();
    if (what.size > oci::document_bytes_cap)
        return fail(error_kind::corrupt, fmt::format("manifest {}: {} bytes are more than the {} it may have", name,
                                                     what.size, oci::document_bytes_cap));
    NEROFS_TRY(fetched found, fetch(name, static_cast<std::size_t>(what.size)));
    // What an index calls a manifest must not be an index to somebody else.
    const std::string& is = media_type_of(found.content);
    if ((oci::media_types::is_manifest(what.media_type) || oci::media_types::is_index(what.media_type)) &&
        what.media_type != is)
        return fail(error_kind::corrupt,
                    fmt::format("manifest {}: is {}, but its index says {}", name, is, what.media_type));
    return found;
}

result<resolved_image> resolving::run(const oci::platform& wanted) {
    resolved_image out{image_, {}, 0, {}, {}};
    NEROFS_TRY(fetched found, fetch(oci::manifest_name(image_), oci::document_bytes_cap));
    for (std::size_t depth = 0; std::holds_alternative<oci::image_index>(found.content); ++depth) {
        if (depth == oci::index_depth_cap) return fail(error_kind::corrupt, "indexes lie in indexes without end");
        if (depth == 0) out.index = found.name;
        const auto index = std::get<oci::image_index>(std::move(found.content));
        NEROFS_TRY(const std::size_t number, oci::select_manifest(index, wanted));
        NEROFS_TRY(found, fetch(index.manifests[number]));
    }
    out.manifest = std::get<oci::image_manifest>(std::move(found.content));
    out.digest = std::move(found.name);
    out.size = found.size;
    out.image.digest = out.digest.to_string();
    return out;
}

}  // namespace

result<resolved_image> resolve(session& with, const oci::platform& wanted, const patience& p) {
    auto found = resolving(with, p).run(wanted);
    if (!found) return fail(std::move(found).error().in(fmt::format("image '{}'", to_string(with.image()))));
    return found;
}

}  // namespace nerofs::registry
