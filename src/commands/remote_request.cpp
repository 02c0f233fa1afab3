#include "commands/remote_request.h"

#include <array>
#include <cstdlib>
#include <tuple>

#include "mount/progress_line.h"
#include "oci/challenge.h"
#include "oci/credentials.h"
#include "os/files.h"

namespace nerofs::commands {
namespace {

// As libcurl reads them.
constexpr std::array proxy_variables = {"http_proxy", "https_proxy", "HTTPS_PROXY", "all_proxy",
                                        "ALL_PROXY",  "no_proxy",    "NO_PROXY"};

std::vector<std::string> proxies() {
    std::vector<std::string> found;
    for (const char* name : proxy_variables)
        if (const char* value = std::getenv(name)) found.push_back(std::string(name) + "=" + value);
    return found;
}

fetch::prefetch_mode prefetch_of(cli::prefetch p) {
    switch (p) {
        case cli::prefetch::none:
            return fetch::prefetch_mode::none;
        case cli::prefetch::metadata:
            return fetch::prefetch_mode::metadata;
        case cli::prefetch::all:
            break;
    }
    return fetch::prefetch_mode::all;
}

void take(const oci::found_credential& found, fetch::remote_source& source, fetch::remote_secrets& secrets) {
    source.credential_kind = static_cast<std::uint8_t>(found.origin.kind);
    source.credential_place = found.origin.place;
    source.credential_user = found.origin.username;
    if (!found.value) return;
    secrets.username = found.value->username;
    secrets.password = found.value->password.reveal();
    secrets.identity_token = found.value->identity_token.reveal();
}

status describe_url(const std::string& url, remote_wish& wish) {
    const cli::url_parts parts = cli::without_user_info(url);
    wish.source.kind = fetch::remote_kind::url;
    wish.source.name = wish.shown = cli::shown_url(parts.url);
    if (wish.source.name != parts.url) wish.secrets.url = parts.url;
    if (parts.user_info.empty()) return {};
    const std::size_t colon = parts.user_info.find(':');
    wish.secrets.username = parts.user_info.substr(0, colon);
    if (colon != std::string::npos) wish.secrets.password = parts.user_info.substr(colon + 1);
    wish.source.credential_kind = static_cast<std::uint8_t>(oci::credential_kind::given);
    return {};
}

status describe_image(const oci::reference& image, const cli::oci_options& options, remote_wish& wish) {
    for (const auto& [name, given, path] : {std::tuple("oci.tarindex", &options.tarindex, &wish.source.tarindex),
                                            std::tuple("oci.zinfo", &options.zinfo, &wish.source.zinfo)}) {
        if (given->empty()) continue;
        auto real = os::real_path(*given);
        if (!real) return fail(std::move(real).error().in(std::string("option '") + name + "'"));
        *path = std::move(*real);
    }
    wish.source.kind = fetch::remote_kind::registry;
    wish.source.name = wish.shown = oci::to_string(image);
    wish.source.layer = options.layer;
    if (!options.blob.empty()) wish.source.blob = "sha256:" + options.blob;
    if (options.platform) {
        wish.source.platform = options.platform->os + "/" + options.platform->architecture;
        if (!options.platform->variant.empty()) wish.source.platform += "/" + options.platform->variant;
    }
    wish.source.insecure = wish.source.insecure || options.insecure;
    oci::given_credential given;
    given.username = options.username;
    given.password = oci::secret(std::string_view(options.password));
    given.password_file = options.password_file;
    NEROFS_TRY(const oci::found_credential found, oci::find_credential(image, given, *oci::system_world()));
    take(found, wish.source, wish.secrets);
    return {};
}

}  // namespace

std::string shown_source(const std::string& source) {
    return source.find("://") == std::string::npos ? source : cli::shown_url(source);
}

ctl::cache_choice cache_choice_of(const cli::mount_options& options) {
    const cli::remote_options& remote = options.remote;
    return {remote.no_cache, remote.cache_directory, remote.cache_bytes.value_or(0)};
}

result<remote_wish> remote_wish_of(const cli::source_spec& spec, const cli::mount_options& options) {
    remote_wish wish;
    const cli::remote_options& remote = options.remote;
    wish.source.insecure = remote.insecure;
    wish.source.ca_file = remote.ca_file;
    wish.source.timeout = remote.timeout.value_or(wish.source.timeout);
    if (remote.ahead) wish.source.prefetch = prefetch_of(*remote.ahead);
    wish.source.background_rate = remote.rate.value_or(0);
    wish.cache = cache_choice_of(options);
    wish.secrets.proxies = proxies();
    if (const auto* url = std::get_if<cli::url_source>(&spec)) {
        NEROFS_CHECK(describe_url(url->url, wish));
    } else if (const auto* image = std::get_if<cli::oci_source>(&spec)) {
        NEROFS_CHECK(describe_image(*image, options.oci, wish));
    } else {
        return fail(cli::not_supported_yet(spec, options));
    }
    return wish;
}

result<mount::remote_image> open_by_itself(mount::remote_image::request request) {
    mount::progress_line line;
    request.waits_for = [&line](const std::string& what) {
        line.show(what);
        return true;
    };
    return mount::remote_image::open(std::move(request), std::nullopt);
}

result<fetch::remote_secrets> find_secrets_again(const mount::record& r) {
    fetch::remote_secrets secrets;
    secrets.proxies = proxies();
    if (r.remote.kind == fetch::remote_kind::url && (r.remote.name.ends_with("?...") || r.remote.credential_kind != 0))
        return fail(error_kind::auth, "its URL held a query or a password, which is not kept in records");
    if (r.remote.kind != fetch::remote_kind::registry) return secrets;
    if (!r.peer_login.empty()) {
        const auto login = oci::from_base64(r.peer_login);
        const std::size_t colon = login ? login->find(':') : std::string::npos;
        if (colon == std::string::npos) return fail(error_kind::corrupt, "the login in its recovery file is malformed");
        secrets.username = login->substr(0, colon);
        secrets.password = login->substr(colon + 1);
        return secrets;
    }
    const oci::credential_origin origin{static_cast<oci::credential_kind>(r.remote.credential_kind),
                                        r.remote.credential_place, r.remote.credential_user};
    if (origin.kind == oci::credential_kind::anonymous) return secrets;
    NEROFS_TRY(const oci::reference image, oci::parse_reference(r.remote.name));
    NEROFS_TRY(const oci::found_credential found, oci::find_again(image, origin, *oci::system_world()));
    fetch::remote_source again;
    take(found, again, secrets);
    return secrets;
}

}  // namespace nerofs::commands
