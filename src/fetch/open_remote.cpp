#include "fetch/open_remote.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <condition_variable>
#include <cstdlib>
#include <mutex>
#include <optional>

#include "cache/key.h"
#include "fetch/given_layer.h"
#include "fetch/layer_tocs.h"
#include "fetch/pushed_indexes.h"
#include "http/url.h"
#include "oci/challenge.h"
#include "oci/platform.h"
#include "oci/select_layer.h"
#include "registry/blob.h"
#include "registry/resolve.h"

namespace nerofs::fetch {
namespace {

using namespace std::chrono_literals;

constexpr std::size_t probed_bytes = 16 * 1024;

// Who begins to wait now must be able to see the source come back.
source::range_source_options source_options_for(const open_request& request) {
    source::range_source_options options;
    options.retry.most =
        std::min<std::chrono::milliseconds>(options.retry.most, std::chrono::milliseconds(request.source.timeout) / 4);
    return options;
}

result<source::blob_facts> probe(source::range_source& from, http::time_point until) {
    std::mutex mutex;
    std::condition_variable answered;
    std::optional<result<source::blob_facts>> answer;
    from.probe(probed_bytes, until, [&](result<source::blob_facts> facts) {
        const std::lock_guard lock(mutex);
        answer = std::move(facts);
        answered.notify_one();
    });
    std::unique_lock lock(mutex);
    answered.wait(lock, [&] { return answer.has_value(); });
    return std::move(*answer);
}

// The user and password of a URL.
class url_login final : public source::authorizer {
  public:
    url_login(std::string_view user, std::string_view password)
        : value_(oci::basic_authorization(user, oci::secret(password))) {}
    void authorize(const http::url&, const std::optional<rejection>& refused, completion done) override {
        if (refused) return done(fail(error_kind::auth, "the server refuses the user and password of the URL", EACCES));
        http::fields given;
        given.add("Authorization", value_.reveal());
        done(std::move(given));
    }

  private:
    const oci::secret value_;
};

result<opened_remote> open_url(http::client& client, const open_request& request) {
    const std::string& text = request.secrets.url.empty() ? request.source.name : request.secrets.url;
    NEROFS_TRY(const http::url url, http::parse_url(text));
    opened_remote opened;
    std::shared_ptr<source::authorizer> login;
    if (!request.secrets.username.empty())
        login = std::make_shared<url_login>(request.secrets.username, request.secrets.password);
    auto bytes = std::make_unique<source::range_source>(client, url, std::move(login), source_options_for(request));
    if (request.known) {
        opened.identity = *request.known;
        bytes->set_known({opened.identity.bytes(), opened.identity.etag});
        opened.stored.push_back(std::move(bytes));
        return opened;
    }
    NEROFS_TRY(const source::blob_facts facts,
               probe(*bytes, std::chrono::steady_clock::now() + request.source.timeout));
    opened.stored.push_back(std::move(bytes));
    if (!facts.ranges)
        return fail(make_error(error_kind::unsupported, "the server gives no parts of it (no HTTP range requests)")
                        .with_hint("download it, and mount the file"));
    if (facts.size == 0) return fail(error_kind::corrupt, "it is empty");
    remote_part& part = opened.identity.parts.emplace_back();
    part.size = facts.size;
    opened.identity.etag = facts.etag;
    if (const auto key = cache::blob_key::from_url(url.text(), facts.etag, facts.size)) part.key = key->name();
    return opened;
}

bool is_tar(const oci::image_layer& layer) {
    return layer.type.format == oci::layer_format::tar;
}

oci::found_credential credential_of(const open_request& request) {
    oci::found_credential who;
    who.origin = {static_cast<oci::credential_kind>(request.source.credential_kind), request.source.credential_place,
                  request.source.credential_user};
    const remote_secrets& s = request.secrets;
    if (!s.username.empty() || !s.identity_token.empty())
        who.value = oci::credential{s.username, oci::secret(std::string_view(s.password)),
                                    oci::secret(std::string_view(s.identity_token))};
    return who;
}

// The layers that are meant: those that were named, or all. `given`: the user knows what the layer is.
result<std::vector<oci::image_layer>> find_layers(registry::session& with, const open_request& request, bool given,
                                                  const registry::patience& until, registry::resolved_image& image) {
    oci::platform wanted = oci::this_platform();
    if (!request.source.platform.empty()) {
        NEROFS_TRY(wanted, oci::parse_platform(request.source.platform));
    }
    NEROFS_TRY(image, registry::resolve(with, wanted, until));
    oci::layer_choice choice;
    choice.number = request.source.layer;
    if (!request.source.blob.empty()) {
        NEROFS_TRY(choice.blob, oci::parse_digest(request.source.blob));
    }
    const std::vector<oci::image_layer>& layers = image.manifest.layers;
    const bool all_tar = !layers.empty() && std::all_of(layers.begin(), layers.end(), is_tar);
    if (all_tar && !choice.number && !choice.blob && !given) {
        if (layers.size() < most_parts) return layers;
        return fail(error_kind::unsupported,
                    fmt::format("the image has {} layers; at most {} are supported", layers.size(), most_parts - 1));
    }
    NEROFS_TRY(const std::size_t number, oci::select_layer(image.manifest, choice));
    const oci::image_layer& layer = layers[number];
    const bool image_itself =
        layer.type.format == oci::layer_format::erofs && layer.type.compression == oci::layer_compression::none;
    if (!image_itself && !is_tar(layer) && !given)
        return fail(error_kind::unsupported,
                    fmt::format("layer {} is of type {}, which is neither an EROFS image nor a tar archive", number,
                                layer.blob.media_type));
    if (layer.blob.size == 0) return fail(error_kind::corrupt, "the layer is empty");
    return std::vector{layer};
}

layer::compression compression_of(const oci::image_layer& layer) {
    switch (layer.type.compression) {
        case oci::layer_compression::gzip:
            return layer::compression::gzip;
        case oci::layer_compression::zstd:
            return layer::compression::zstd;
        default:
            return layer::compression::plain;
    }
}

// Where else than on this machine there may be an index. `given`: the user's points into the tar.
void offer_indexes(remote_layer& to, const registry::resolved_image& image, const oci::image_layer& layer, bool given) {
    to.blob.index_name(index_origin::pushed) = pushed_index_name(image, to.blob.digest);
    if (given) return;
    to.toc = layer::find_toc(layer.blob.annotations, to.how);
    if (to.toc) to.blob.index_name(index_origin::toc) = toc_index_name(to.blob.digest, *to.toc);
}

result<opened_remote> open_registry(http::client& client, const open_request& request, const given_files& files,
                                    layer_work& work) {
    const registry::patience until{std::chrono::steady_clock::now() + request.source.timeout};
    registry::session_options options;
    NEROFS_TRY(options.image, oci::parse_reference(request.source.name));
    options.who = credential_of(request);
    options.insecure = request.source.insecure;
    const auto session = registry::session::make(client, std::move(options));
    const auto open_blob = [&](const std::string& digest,
                               std::uint64_t size) -> result<std::unique_ptr<source::range_source>> {
        NEROFS_TRY(const oci::digest name, oci::parse_digest(digest));
        NEROFS_TRY(registry::opened_blob blob,
                   registry::open_blob(session, name, size, until, source_options_for(request)));
        return std::move(blob.source);
    };

    const bool pushes = request.source.push_indexes;
    opened_remote opened;
    if (request.known) {
        opened.identity = *request.known;
        session->settle(!opened.identity.plain_http);
    } else {
        registry::resolved_image image;
        const bool given = files.tarindex || files.zinfo;
        NEROFS_TRY(const std::vector<oci::image_layer> layers,
                   find_layers(*session, request, given || request.source.raw, until, image));
        if (pushes && (given || !is_tar(layers.front())))
            return fail(error_kind::usage, "the image isn't one of tar layers, which is what needs indexes");
        if (!request.source.raw && (is_tar(layers.front()) || given)) {
            std::vector<remote_layer> all;
            for (const oci::image_layer& l : layers) {
                remote_layer& one = all.emplace_back();
                one.blob = {l.blob.digest.to_string(), l.blob.size, {l.blob.digest.to_string()}};
                one.how = files.zinfo ? layer::compression::gzip : compression_of(l);
                if (!pushes) offer_indexes(one, image, l, given);
                NEROFS_TRY(one.source, open_blob(one.blob.digest, one.blob.size));
            }
            if (given) {
                NEROFS_TRY(opened.identity.parts,
                           open_given_layer(std::move(all.front()), files, work, request.source.timeout));
            } else {
                layer_tocs tocs(request.source.timeout);
                pushed_indexes others(session, image, request.source.timeout);
                const std::array<index_offer*, 2> offers = {&tocs, &others};
                NEROFS_TRY(
                    opened_layers done,
                    open_layers(std::move(all), work, std::span(offers).first(pushes ? 0 : 2), request.source.timeout));
                opened.identity.parts = std::move(done.parts);
                if (pushes) NEROFS_CHECK(push_indexes(*session, image, done.indexes, work, request.source.timeout));
            }
        } else {
            const oci::descriptor& blob = layers.front().blob;
            remote_part& part = opened.identity.parts.emplace_back();
            part.digest = blob.digest.to_string();
            part.size = blob.size;
            if (const auto key = cache::blob_key::from_digest(part.digest, blob.size)) part.key = key->name();
        }
        opened.identity.resolved = oci::to_string(image.image);
        opened.identity.plain_http = session->secure() == false;
    }
    for (const remote_part& part : opened.identity.parts) {
        auto& stored = opened.stored.emplace_back();
        if (part.kind == part_kind::metadata) continue;
        const bool decoded = part.kind == part_kind::content;
        NEROFS_TRY(stored, open_blob(decoded ? part.layer : part.digest, decoded ? part.layer_size : part.size));
    }
    return opened;
}

}  // namespace

http::client_options client_options_for(const open_request& request) {
    for (const std::string& setting : request.secrets.proxies) {
        const auto equals = setting.find('=');
        if (equals != std::string::npos)
            ::setenv(setting.substr(0, equals).c_str(), setting.substr(equals + 1).c_str(), 1);
    }
    http::client_options options;
    options.allow_plain = request.source.insecure;
    options.verify = !request.source.insecure;
    options.ca_file = request.source.ca_file;
    return options;
}

result<opened_remote> open_remote(http::client& client, const open_request& request, const given_files& files,
                                  layer_work& work) {
    switch (request.source.kind) {
        case remote_kind::url:
            return open_url(client, request);
        case remote_kind::registry:
            return open_registry(client, request, files, work);
        case remote_kind::none:
            break;
    }
    return fail(error_kind::unsupported, "this kind of source is not supported yet");
}

}  // namespace nerofs::fetch
