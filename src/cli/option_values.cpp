#include "cli/option_values.h"

#include <fmt/format.h>

#include <algorithm>
#include <vector>

#include "cli/text.h"

namespace nerofs::cli {
namespace {

bool is_platform_letter(char c) {
    return is_lower(c) || is_digit(c) || c == '.' || c == '_' || c == '-';
}
bool is_region_letter(char c) {
    return is_word(c) || c == '-';
}

}  // namespace

complaint take_number(std::string_view value, unsigned least, unsigned most, std::optional<unsigned>& into) {
    unsigned number = 0;
    if (!whole_number(value, number) || number < least || number > most)
        return fmt::format("must be {} to {}", least, most);
    into = number;
    return {};
}

complaint take_seconds(std::string_view value, unsigned least, unsigned most,
                       std::optional<std::chrono::seconds>& into) {
    std::optional<unsigned> number;
    if (complaint why = take_number(value, least, most, number); !why.empty()) return why + " seconds";
    into = std::chrono::seconds(*number);
    return {};
}

complaint take_text(std::string_view value, std::string& into) {
    if (value.empty()) return "must not be empty";
    into = value;
    return {};
}

complaint take_bytes(std::string_view value, std::optional<std::uint64_t>& into) {
    static constexpr std::string_view units = "KMGT";
    unsigned shift = 0;
    if (!value.empty()) {
        if (const std::size_t unit = units.find(value.back()); unit != std::string_view::npos) {
            shift = 10 * (static_cast<unsigned>(unit) + 1);
            value.remove_suffix(1);
        }
    }
    std::uint64_t number = 0;
    if (!whole_number(value, number) || number == 0 || number > (std::uint64_t{1} << 50) >> shift)
        return "must be a number of bytes, as 500M or 20G";
    into = number << shift;
    return {};
}

complaint take_path(std::string_view value, std::string& into) {
    if (!value.starts_with('/')) return "must be an absolute path";
    into = value;
    return {};
}

complaint take_digest(std::string_view value, std::string& into) {
    if (value.starts_with("sha256:")) value.remove_prefix(7);
    std::string hex(value);
    for (char& c : hex)
        if (c >= 'A' && c <= 'F') c = static_cast<char>(c - 'A' + 'a');
    if (hex.size() != 64 || !only(hex, is_lower_hex)) return "must be a sha256 digest, 64 hex digits";
    into = std::move(hex);
    return {};
}

complaint take_platform(std::string_view value, std::optional<oci_platform>& into) {
    std::vector<std::string> parts(1);
    for (const char c : value) {
        if (c == '/')
            parts.emplace_back();
        else
            parts.back() += c;
    }
    const bool sound =
        std::all_of(parts.begin(), parts.end(), [](const std::string& part) { return only(part, is_platform_letter); });
    if (!sound || parts.size() < 2 || parts.size() > 3) return "must be OS/ARCH or OS/ARCH/VARIANT, as linux/arm64/v8";
    parts.resize(3);
    into = oci_platform{parts[0], parts[1], parts[2]};
    return {};
}

complaint take_username(std::string_view value, std::string& into) {
    // HTTP's basic authentication sends "name:password": a colon would end the name.
    if (value.find(':') != std::string_view::npos) return "must not hold a colon; the password is an option of its own";
    return take_text(value, into);
}

complaint take_endpoint(std::string_view value, std::string& into) {
    if (value.find('@') != std::string_view::npos) return "must not hold credentials; they belong in s3.passwd_file";
    std::string_view host = value;
    for (const std::string_view scheme : {"http://", "https://"})
        if (host.starts_with(scheme)) host.remove_prefix(scheme.size());
    if (!only(host, is_graphic) || host.find("://") != std::string_view::npos)
        return "must be HOST, HOST:PORT or an http or https URL";
    into = value;
    return {};
}

complaint take_region(std::string_view value, std::string& into) {
    if (!only(value, is_region_letter)) return "must be the name of a region, as eu-central-1";
    into = value;
    return {};
}

}  // namespace nerofs::cli
