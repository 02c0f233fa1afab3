// Names of images: what is taken is canonical and stays the same when it is read again; what is refused is told in one
// line.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "oci/challenge.h"
#include "oci/digest.h"
#include "oci/platform.h"
#include "oci/reference.h"
#include "require.h"

namespace {

using namespace nerofs;
using namespace nerofs::fuzz;

void check_text(const std::string& text) {
    require(!text.empty() && text.size() < 2000);
    for (const char c : text) require(c >= ' ' && c < 0x7f);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string_view input(reinterpret_cast<const char*>(data), size);
    if (const auto image = oci::parse_reference(input)) {
        const std::string text = oci::to_string(*image);
        check_text(text);
        const auto again = oci::parse_reference(text);
        require(again && *again == *image);
        require(!image->tag.empty() || !image->digest.empty());
        require(image->digest.empty() || oci::parse_digest(image->digest));
        require(oci::registry_origin(oci::api_host(*image), true).authority.find(':') != std::string::npos);
        // Nothing of a name has a meaning in a URL's path.
        for (const char c : image->repository + oci::manifest_name(*image)) require(c != '%' && c != '?' && c != '#');
    } else {
        check_text(image.error().message());
    }
    if (const auto platform = oci::parse_platform(input)) {
        check_text(oci::to_string(*platform));
        require(oci::distance(*platform, *platform) == 0u);
        require(oci::normalised(oci::normalised(*platform)) == oci::normalised(*platform));
    } else {
        check_text(platform.error().message());
    }
    if (const auto digest = oci::parse_digest(input)) {
        require(digest->to_string() == input);
    } else {
        check_text(digest.error().message());
    }
    return 0;
}
