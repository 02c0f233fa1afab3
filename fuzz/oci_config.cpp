// Credentials files and the answers of credential helpers: no text of theirs, which may be a secret, is in an error but
// names of members and helpers.
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "oci/auth_file.h"
#include "oci/challenge.h"
#include "require.h"

namespace {

using namespace nerofs;
using namespace nerofs::fuzz;

void check_error(const error& e) {
    const std::string text = e.message();
    require(!text.empty() && text.size() < 1000);
    for (const char c : text) require(c >= ' ' && c < 0x7f);
}

void check_credential(const oci::credential& found) {
    require(found.password.empty() || found.identity_token.empty());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string_view input(reinterpret_cast<const char*>(data), size);
    for (const char* name : {"python:3.12", "quay.io/org/team/app", "localhost:5000/x"}) {
        const auto image = *oci::parse_reference(name);
        const auto entry = oci::read_auth_file(std::as_bytes(std::span(data, size)), "config.json", image);
        if (!entry) {
            check_error(entry.error());
            continue;
        }
        for (const auto& helper : entry->helpers) {
            require(oci::is_helper_name(helper.name));
            require(helper.server == oci::helper_server(image));
        }
        if (entry->found) check_credential(*entry->found);
    }
    for (const bool succeeded : {true, false}) {
        const auto answer = oci::read_helper_answer("x", succeeded, input);
        if (!answer)
            check_error(answer.error());
        else if (*answer)
            check_credential(**answer);
    }
    if (const auto bytes = oci::from_base64(input)) require(oci::from_base64(oci::base64(*bytes)) == *bytes);
    return 0;
}
