#include "fetch/pushed_indexes.h"

#include <fmt/format.h>

#include <algorithm>
#include <span>
#include <utility>

#include "base/log.h"
#include "codec/sha256.h"
#include "oci/digest_check.h"
#include "oci/document.h"
#include "os/files.h"
#include "os/shared_memory.h"
#include "registry/blob.h"
#include "source/in_order.h"

namespace nerofs::fetch {
namespace {

using namespace std::chrono_literals;

constexpr std::chrono::milliseconds longest_search = 10s;
constexpr std::size_t most_artifacts = 4;  // of an image, the newest ones
constexpr std::size_t most_config_bytes = 4u << 20;
constexpr std::uint64_t most_index_bytes = 256u << 20;
constexpr std::uint64_t most_tree_bytes = 256u << 20;
constexpr std::uint64_t small = 64u << 10;  // may be larger than its layer

std::span<const std::byte> bytes_of(std::string_view text) {
    return std::as_bytes(std::span(text.data(), text.size()));
}

registry::patience in_time(std::chrono::milliseconds time) {
    return {std::chrono::steady_clock::now() + time};
}

}  // namespace

status pushed_indexes::find() {
    const registry::patience p = in_time(std::min(timeout_, longest_search));
    NEROFS_TRY(std::vector<oci::descriptor> artifacts,
               registry::find_referrers(*with_, image_.digest, oci::layer_index_type, p));
    if (artifacts.empty()) return {};
    // What the layers are is the image's to say, not that of who pushed an index.
    if (!image_.manifest.config) return fail(error_kind::corrupt, "the image has no config");
    NEROFS_TRY(const std::string config,
               registry::fetch_small(*with_, registry::stored_as::blob, *image_.manifest.config, most_config_bytes, p));
    NEROFS_TRY(const std::vector<std::string> ids, oci::read_diff_ids(bytes_of(config)));
    if (ids.size() != image_.manifest.layers.size())
        return fail(error_kind::corrupt, "the image's config has another number of layers");
    for (std::size_t i = 0; i < ids.size(); ++i) {
        const auto [known, fresh] = diff_ids_.emplace(image_.manifest.layers[i].blob.digest.to_string(), ids[i]);
        if (!fresh && known->second != ids[i]) known->second.clear();
    }
    std::reverse(artifacts.begin(), artifacts.end());
    if (artifacts.size() > most_artifacts) artifacts.resize(most_artifacts);
    for (const oci::descriptor& a : artifacts)
        if (const status read = read_artifact(a, p); !read)
            log::info(fmt::format("{} is ignored: {}", a.digest.to_string(), read.error().message()));
    return {};
}

status pushed_indexes::read_artifact(const oci::descriptor& artifact, const registry::patience& p) {
    NEROFS_TRY(const std::string manifest,
               registry::fetch_small(*with_, registry::stored_as::manifest, artifact, oci::document_bytes_cap, p));
    NEROFS_TRY(std::vector<oci::layer_index_blob> indexes, oci::read_index_artifact(bytes_of(manifest), image_.digest));
    for (oci::layer_index_blob& i : indexes) {
        std::string layer = i.layer;
        found_.emplace(std::move(layer), std::move(i));
    }
    return {};
}

std::optional<index_offer::offered> pushed_indexes::get(const remote_layer& layer) {
    std::call_once(looked_up_, [this] {
        if (const status searched = find(); !searched)
            log::info("no indexes of layers come with the image: " + searched.error().message());
    });
    const auto from = found_.find(layer.blob.digest);
    if (from == found_.end()) return std::nullopt;
    auto found = checked(from->second, layer);
    if (found) return std::move(*found);
    log::info(fmt::format("the index of layer {} that came with the image is ignored: {}", layer.blob.digest,
                          found.error().message()));
    return std::nullopt;
}

result<index_offer::offered> pushed_indexes::checked(const oci::layer_index_blob& from,
                                                     const remote_layer& layer) const {
    if (from.size > std::min(most_index_bytes, std::max(layer.blob.size, small)))
        return fail(error_kind::corrupt, fmt::format("{} bytes are too many", from.size));
    offered found;
    NEROFS_TRY(found.file, read(from));
    NEROFS_TRY(found.index, layer::layer_index::parse(found.file, most_tree_bytes));
    if (codec::sha256_name(found.index.stored_digest) != layer.blob.digest ||
        found.index.stored_bytes != layer.blob.size || found.index.how != layer.how || !found.index.chunks.empty())
        return fail(error_kind::corrupt, "it is another layer's");
    const auto id = diff_ids_.find(layer.blob.digest);
    if (id == diff_ids_.end() || id->second != codec::sha256_name(found.index.content_digest))
        return fail(error_kind::corrupt, "its content isn't what the image's config says");
    return found;
}

result<std::vector<std::byte>> pushed_indexes::read(const oci::layer_index_blob& from) const {
    NEROFS_TRY(const registry::opened_blob blob, registry::open_blob(with_, from.digest, from.size, in_time(timeout_)));
    NEROFS_TRY(std::vector<std::byte> bytes, source::read_range(*blob.source, 0, from.size, timeout_));
    NEROFS_CHECK(oci::check_digest(bytes, from.digest, "index"));
    return bytes;
}

std::string pushed_index_name(const registry::resolved_image& image, const std::string& layer) {
    const std::string all =
        fmt::format("{}\n{}\n{}", oci::repository_name(image.image), image.digest.to_string(), layer);
    return codec::sha256_name(codec::sha256::of(bytes_of(all)));
}

status push_indexes(registry::session& with, const registry::resolved_image& image,
                    const std::vector<opened_layers::index_file>& indexes, layer_work& work,
                    std::chrono::milliseconds timeout) {
    std::vector<oci::layer_index_blob> pushed;
    for (const opened_layers::index_file& i : indexes) {
        NEROFS_CHECK(work.progress(fmt::format("pushing index {} of {}", pushed.size() + 1, indexes.size())));
        NEROFS_TRY(const std::uint64_t size, os::file_size(i.file));
        if (size > most_index_bytes)
            return fail(error_kind::permanent, "the index of layer " + i.layer + " is too large");
        auto bytes = std::make_shared<std::string>(size, '\0');
        NEROFS_CHECK(os::pread_exact(i.file, std::as_writable_bytes(std::span(*bytes)), 0));
        oci::layer_index_blob& blob = pushed.emplace_back();
        blob = {i.layer, oci::digest_of(bytes_of(*bytes)), size};
        NEROFS_CHECK(registry::push_blob(with, blob.digest, std::move(bytes), in_time(timeout)));
    }
    const auto config = std::make_shared<const std::string>(oci::empty_config);
    NEROFS_CHECK(registry::push_blob(with, oci::digest_of(bytes_of(*config)), config, in_time(timeout)));
    oci::descriptor subject;
    subject.media_type = image.manifest.media_type;
    subject.digest = image.digest;
    subject.size = image.size;
    NEROFS_TRY(const oci::digest artifact,
               registry::push_artifact(with, image.digest, oci::write_index_artifact(subject, pushed),
                                       oci::layer_index_type, in_time(timeout)));
    return work.pushed(artifact.to_string());
}

}  // namespace nerofs::fetch
