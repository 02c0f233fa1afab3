#include "cli/source_spec.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <utility>
#include <vector>

#include "cli/option_values.h"
#include "cli/text.h"

namespace nerofs::cli {
namespace {

bool is_host(char c) {
    return is_word(c) || c == '-' || c == '.';
}
bool is_address(char c) {
    return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F') || c == ':' || c == '.';
}

struct split {
    std::string_view scheme;  // lower case in all that matters: compared without regard to case
    std::string_view rest;
};

// "docker://x" -> {docker, x}; "x" -> {"", x}.
split split_scheme(std::string_view source) {
    const std::size_t at = source.find("://");
    if (at == std::string_view::npos || at == 0) return {{}, source};
    const auto is_scheme = [](char c) { return is_word(c) || c == '+' || c == '-' || c == '.'; };
    if (!only(source.substr(0, at), is_scheme)) return {{}, source};
    return {source.substr(0, at), source.substr(at + 3)};
}

bool same_word(std::string_view a, std::string_view b) {
    const auto lower = [](char c) { return is_upper(c) ? static_cast<char>(c - 'A' + 'a') : c; };
    return std::equal(a.begin(), a.end(), b.begin(), b.end(), [&](char x, char y) { return lower(x) == lower(y); });
}

bool one_of(std::string_view scheme, std::initializer_list<std::string_view> schemes) {
    return std::any_of(schemes.begin(), schemes.end(), [&](std::string_view s) { return same_word(scheme, s); });
}

// HOST, HOST:PORT, [ADDRESS] or [ADDRESS]:PORT.
bool is_authority(std::string_view text) {
    std::string_view port;
    if (text.starts_with('[')) {
        const std::size_t end = text.find(']');
        if (end == std::string_view::npos || !only(text.substr(1, end - 1), is_address)) return false;
        port = text.substr(end + 1);
    } else {
        const std::size_t colon = std::min(text.find(':'), text.size());
        if (!only(text.substr(0, colon), is_host)) return false;
        port = text.substr(colon);
    }
    if (port.empty()) return true;
    std::uint16_t number = 0;
    return port[0] == ':' && whole_number(port.substr(1), number) && number != 0;
}

result<source_spec> image_of(std::string_view text) {
    NEROFS_TRY(oci::reference image, oci::parse_reference(text));
    return image;
}

result<source_spec> parse_object(std::string_view text) {
    const std::size_t slash = text.find('/');
    const std::string_view bucket = text.substr(0, slash);
    if (slash == std::string_view::npos || slash + 1 == text.size() || !only(bucket, is_host))
        return fail(make_error(error_kind::usage, fmt::format("object {}: must be BUCKET/KEY", quoted(text))));
    return s3_source{std::string(bucket), std::string(text.substr(slash + 1))};
}

result<source_spec> parse_url(std::string_view url) {
    const auto [scheme, rest] = split_scheme(url);
    std::string_view authority = rest.substr(0, rest.find_first_of("/?#"));
    if (const std::size_t at = authority.rfind('@'); at != std::string_view::npos) authority.remove_prefix(at + 1);
    if (!is_authority(authority))
        return fail(error_kind::usage,
                    fmt::format("URL {}: needs a host, as https://HOST[:PORT]/PATH", quoted(shown_url(url))));
    if (!only(url, is_graphic))
        return fail(make_error(error_kind::usage,
                               fmt::format("URL {}: holds a space or a control character", quoted(shown_url(url))))
                        .with_hint("a space in a URL is %20"));
    return url_source{std::string(url)};
}

result<source_spec> not_local(std::string_view source) {
    error e =
        make_error(error_kind::not_found, fmt::format("image {}: no such file or device", quoted(source)), ENOENT);
    if (!source.starts_with('/') && !source.starts_with('.') && oci::parse_reference(source))
        return fail(std::move(e).with_hint(fmt::format("an image in a registry is named docker://{}", source)));
    return fail(std::move(e));
}

// "(layer 0, platform linux/arm64)" with a space in front, or nothing.
std::string oci_details(const oci_options& oci) {
    std::vector<std::string> details;
    if (!oci.blob.empty()) details.push_back(fmt::format("blob sha256:{}", oci.blob));
    if (oci.layer) details.push_back(fmt::format("layer {}", *oci.layer));
    if (oci.platform) {
        const std::string_view slash = oci.platform->variant.empty() ? "" : "/";
        details.push_back(fmt::format("platform {}/{}{}{}", oci.platform->os, oci.platform->architecture, slash,
                                      oci.platform->variant));
    }
    return details.empty() ? std::string() : fmt::format(" ({})", fmt::join(details, ", "));
}

std::string text_of(const local_source& local, const mount_options&) {
    return fmt::format("{} {}", local.block_device ? "device" : "file", quoted(local.path));
}

std::string text_of(const oci_source& image, const mount_options& options) {
    // The grammar of an image's name leaves nothing to quote.
    return fmt::format("registry image '{}'{}", oci::to_string(image), oci_details(options.oci));
}

std::string text_of(const s3_source& object, const mount_options& options) {
    const std::string at =
        options.s3.endpoint.empty() ? std::string() : fmt::format(" at {}", quoted(options.s3.endpoint));
    return fmt::format("object {}{}", quoted(fmt::format("{}/{}", object.bucket, object.key)), at);
}

std::string text_of(const url_source& url, const mount_options&) {
    return fmt::format("URL {}", quoted(shown_url(url.url)));
}

}  // namespace

std::string shown_url(std::string_view url) {
    const auto [scheme, rest] = split_scheme(url);
    const std::size_t end = rest.find_first_of("/?#");
    std::string_view authority = rest.substr(0, end);
    std::string_view path = end == std::string_view::npos ? std::string_view() : rest.substr(end);
    if (const std::size_t at = authority.rfind('@'); at != std::string_view::npos) authority.remove_prefix(at + 1);
    const std::size_t query = path.find_first_of("?#");
    return fmt::format("{}://{}{}{}", scheme, authority, path.substr(0, query),
                       query == std::string_view::npos ? "" : "?...");
}

url_parts without_user_info(std::string_view url) {
    const auto [scheme, rest] = split_scheme(url);
    const std::string_view authority = rest.substr(0, rest.find_first_of("/?#"));
    const std::size_t at = authority.rfind('@');
    if (at == std::string_view::npos) return {{}, std::string(url)};
    return {std::string(authority.substr(0, at)), fmt::format("{}://{}", scheme, rest.substr(at + 1))};
}

result<source_spec> classify_source(std::string_view source, const mount_options& options, local_entry found) {
    const auto [scheme, rest] = split_scheme(source);
    const bool names_image = one_of(scheme, {"docker", "oci"});
    const bool names_object = one_of(scheme, {"s3"});
    const bool names_url = one_of(scheme, {"http", "https"});
    const auto contradicts = [&](std::string_view family) {
        return fail(error_kind::usage,
                    fmt::format("source {}: is not what the {} options are for", quoted(shown_url(source)), family));
    };
    if (options.oci.given) {
        if (!scheme.empty() && !names_image) return contradicts("oci.*");
        return image_of(rest);
    }
    if (options.s3.given) {
        if (!scheme.empty() && !names_object) return contradicts("s3.*");
        return parse_object(rest);
    }
    switch (found) {
        case local_entry::file:
        case local_entry::block_device:
            return local_source{std::string(source), found == local_entry::block_device};
        case local_entry::other:
            return fail(error_kind::permanent,
                        fmt::format("image {}: is neither a regular file nor a block device", quoted(source)));
        case local_entry::none:
            break;
    }
    const bool remote = names_image || names_object || names_url;
    if (remote && options.loop)
        return fail(error_kind::usage, "option 'loop': only a local image can be on a loop device");
    if (names_image) return image_of(rest);
    if (names_object) return parse_object(rest);
    if (names_url) return parse_url(source);
    if (!scheme.empty())
        return fail(make_error(error_kind::usage, fmt::format("source {}: the scheme {} is not known",
                                                              quoted(shown_url(source)), quoted(scheme)))
                        .with_hint("the schemes are docker, oci, s3, http and https"));
    return not_local(source);
}

source_and_path split_source(std::string_view text, const std::function<bool(const std::string&)>& is_local) {
    const auto split = [&](std::size_t colon) -> source_and_path {
        const std::string_view path = text.substr(colon + 1);
        return {std::string(text.substr(0, colon)), path.empty() ? "/" : std::string(path)};
    };
    if (is_local(std::string(text))) return {std::string(text), "/"};
    for (std::size_t at = text.find(':'); at != std::string_view::npos; at = text.find(':', at + 1)) {
        if (is_local(std::string(text.substr(0, at)))) return split(at);
    }
    const std::size_t last = text.rfind(":/");
    if (last != std::string_view::npos && last > 0 && !text.substr(last).starts_with("://")) return split(last);
    return {std::string(text), "/"};
}

std::string describe(const source_spec& source, const mount_options& options) {
    return std::visit([&](const auto& kind) { return text_of(kind, options); }, source);
}

error not_supported_yet(const source_spec& source, const mount_options& options) {
    return make_error(error_kind::unsupported, fmt::format("{}: not supported yet", describe(source, options)))
        .with_hint("this version mounts files, block devices, http and https URLs, and images in registries");
}

}  // namespace nerofs::cli
