#include "registry/blob.h"

#include <fmt/format.h>

#include <utility>

#include "registry/exchange.h"
#include "registry/pending.h"

namespace nerofs::registry {
namespace {

result<std::uint64_t> size_of(source::range_source& blob, const patience& p) {
    const pending<result<source::blob_facts>> answer;
    blob.probe(1, p.deadline, answer.receiver());
    auto facts = answer.wait({http::time_point::max(), p.stop});  // the probe keeps the deadline, and says why
    if (!facts) return fail(error_kind::cancelled, "cancelled");
    if (!*facts) {
        error why = std::move(*facts).error();
        if (why.kind == error_kind::not_found) why.text = "the registry has no such blob in this repository";
        return fail(std::move(why));
    }
    if (!(*facts)->ranges)
        return fail(make_error(error_kind::unsupported, "the registry gives it only as a whole, not in ranges")
                        .with_hint("copy the image to this machine, for example with skopeo"));
    return (*facts)->size;
}

result<opened_blob> open(const std::shared_ptr<session>& with, const oci::digest& name,
                         std::optional<std::uint64_t> size, const patience& p, source::range_source_options how) {
    NEROFS_CHECK(exchange(*with, p).reach());
    NEROFS_TRY(http::url from,
               with->url(*with->secure(), fmt::format("{}/blobs/{}", with->image().repository, name.to_string())));
    how.pin_etag = false;
    opened_blob out;
    out.source = std::make_unique<source::range_source>(with->client(), std::move(from), with, std::move(how));
    if (size) {
        out.size = *size;
        out.source->set_known({size, {}});
    } else {
        NEROFS_TRY(out.size, size_of(*out.source, p));
    }
    return out;
}

}  // namespace

result<opened_blob> open_blob(const std::shared_ptr<session>& with, const oci::digest& name,
                              std::optional<std::uint64_t> size, const patience& p, source::range_source_options how) {
    auto out = open(with, name, size, p, std::move(how));
    if (!out)
        return fail(
            std::move(out).error().in(fmt::format("image '{}': blob {}", to_string(with->image()), name.to_string())));
    return out;
}

}  // namespace nerofs::registry
