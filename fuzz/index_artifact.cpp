// What hostile registries say lies beside an image: the artifact with indexes of its layers, lists of referrers, and
// the image's config, which names the layers' contents.
#include "oci/index_artifact.h"

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "oci/digest_check.h"
#include "oci/media_types.h"
#include "require.h"

namespace {

using namespace nerofs;
using namespace nerofs::fuzz;
using bytes_view = std::span<const std::byte>;

void check_error(const error& e) {
    const std::string text = e.message();
    require(!text.empty() && text.size() < 30000);
    for (const char c : text) require(c >= ' ' && c < 0x7f);
}

bytes_view as_bytes(std::string_view text) {
    return std::as_bytes(std::span(text));
}

// What was read can be written, and is read as the same.
void check_artifact(bytes_view input, const oci::descriptor& image) {
    const auto found = oci::read_index_artifact(input, image.digest);
    if (!found) return check_error(found.error());
    const auto again = oci::read_index_artifact(as_bytes(oci::write_index_artifact(image, *found)), image.digest);
    require(again && *again == *found);
    require(!oci::read_index_artifact(input, oci::digest_of(as_bytes("another"))));
}

// One more in the list is found there once, beside those that there were.
void check_referrers(bytes_view input, const oci::descriptor& image) {
    oci::descriptor one = image;
    one.artifact_type = oci::layer_index_type;
    const auto before = oci::read_referrers(input, one.artifact_type);
    const auto added = oci::add_referrer(input, one);
    if (!before) check_error(before.error());
    if (!added) return check_error(added.error());
    const auto after = oci::read_referrers(as_bytes(*added), one.artifact_type);
    if (!after) return check_error(after.error());  // one too many
    std::size_t same = 0;
    for (const oci::descriptor& d : *after) same += d.digest == one.digest ? 1 : 0;
    require(same == 1 && after->back().digest == one.digest);
    if (input.empty()) return;
    require(before.has_value());
    std::size_t others = 0;
    for (const oci::descriptor& d : *before) others += d.digest == one.digest ? 0 : 1;
    require(after->size() == others + 1);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const bytes_view input = std::as_bytes(std::span(data, size));
    oci::descriptor image;
    image.media_type = oci::media_types::oci_manifest;
    image.digest = oci::digest_of(as_bytes("image"));
    image.size = 5;
    check_artifact(input, image);
    check_referrers(input, image);
    if (const auto ids = oci::read_diff_ids(input); !ids) check_error(ids.error());
    return 0;
}
