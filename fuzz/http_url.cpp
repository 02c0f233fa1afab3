// URLs: a base, a newline, and what a Location says. What we take apart one way libcurl must not take apart another
// way, since it is libcurl that connects, and our view of the host that decides about credentials and plain http.
#include <curl/curl.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "http/url.h"
#include "require.h"

namespace {

using namespace nerofs::http;
using namespace nerofs::fuzz;

struct freed {
    void operator()(char* text) const { curl_free(text); }
    void operator()(CURLU* u) const { curl_url_cleanup(u); }
};

std::string part(CURLU* u, CURLUPart which) {
    char* text = nullptr;
    if (curl_url_get(u, which, &text, CURLU_DEFAULT_PORT) != CURLUE_OK) return {};
    const std::unique_ptr<char, freed> kept(text);
    std::string out(text);
    std::transform(out.begin(), out.end(), out.begin(),
                   [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
    return out;
}

void check(const url& u) {
    const std::string text = u.text();
    require(std::all_of(text.begin(), text.end(), [](char c) { return c > ' ' && c < 0x7f; }));
    require(u.target.starts_with('/') && u.port != 0 && !u.host.empty());
    require(u.printable().find('?') == std::string::npos || u.printable().ends_with("?..."));
    const auto again = parse_url(text);
    require(again.has_value() == (text.size() <= max_url_bytes));
    require(!again || *again == u);

    const std::unique_ptr<CURLU, freed> theirs(curl_url());
    if (curl_url_set(theirs.get(), CURLUPART_URL, text.c_str(), CURLU_PATH_AS_IS) != CURLUE_OK) return;
    require(part(theirs.get(), CURLUPART_SCHEME) == (u.secure ? "https" : "http"));
    require(part(theirs.get(), CURLUPART_PORT) == std::to_string(u.port));
    require(part(theirs.get(), CURLUPART_USER).empty() && part(theirs.get(), CURLUPART_PASSWORD).empty());
    // It writes IPv6 addresses anew.
    const std::string host = part(theirs.get(), CURLUPART_HOST);
    require(u.host.starts_with('[') ? host.starts_with('[') : host == u.host);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string_view input(reinterpret_cast<const char*>(data), size);
    const std::size_t end = std::min(input.find('\n'), input.size());
    const auto base = parse_url(input.substr(0, end));
    if (!base) return 0;
    check(*base);
    if (end == input.size()) return 0;
    const std::string_view reference = input.substr(end + 1);
    const auto there = resolve(*base, reference);
    if (!there) return 0;
    check(*there);
    if (reference.find(':') == std::string_view::npos && !reference.starts_with("//"))
        require(same_origin(*base, *there));
    return 0;
}
