#include "oci/platform.h"

#include <fmt/format.h>
#include <sys/utsname.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <utility>

#include "oci/text.h"

namespace nerofs::oci {
namespace {

struct other_name {
    std::string_view name;
    std::string_view architecture;
    std::string_view variant;
};

// uname(2)'s and Debian's names that differ from Go's.
constexpr std::array other_names{
    other_name{"x86_64", "amd64", ""},      other_name{"x86-64", "amd64", ""},
    other_name{"i386", "386", ""},          other_name{"i486", "386", ""},
    other_name{"i586", "386", ""},          other_name{"i686", "386", ""},
    other_name{"aarch64", "arm64", ""},     other_name{"armv8b", "arm64", ""},
    other_name{"armv8l", "arm", "v8"},      other_name{"armv7l", "arm", "v7"},
    other_name{"armhf", "arm", "v7"},       other_name{"armv6l", "arm", "v6"},
    other_name{"armel", "arm", "v6"},       other_name{"armv5tel", "arm", "v5"},
    other_name{"armv5tejl", "arm", "v5"},   other_name{"loongarch64", "loong64", ""},
    other_name{"ppc64el", "ppc64le", ""},   other_name{"mipsel", "mipsle", ""},
    other_name{"mips64el", "mips64le", ""},
};

// The variant that is meant when there is none; empty for architectures whose variants have no order.
std::string_view usual_variant(std::string_view architecture) {
    if (architecture == "arm64") return "v8";
    if (architecture == "arm") return "v7";
    if (architecture == "amd64") return "v1";
    return {};
}

struct version {
    unsigned major = 0;
    unsigned minor = 0;
    friend auto operator<=>(const version&, const version&) = default;
};

// "v8" or "v8.2".
std::optional<version> parse_version(std::string_view variant) {
    if (!variant.starts_with('v')) return std::nullopt;
    const char* const end = variant.data() + variant.size();
    version v;
    auto [stop, failed] = std::from_chars(variant.data() + 1, end, v.major);
    if (failed != std::errc() || v.major > 999) return std::nullopt;
    if (stop == end) return v;
    if (*stop != '.') return std::nullopt;
    const auto [stop2, failed2] = std::from_chars(stop + 1, end, v.minor);
    if (failed2 != std::errc() || stop2 != end || v.minor > 999) return std::nullopt;
    return v;
}

constexpr std::size_t longest_part = 64;

constexpr unsigned far = 1'000'000;  // behind every distance between versions

}  // namespace

result<platform> parse_platform(std::string_view text) {
    const auto letter = [](char c) { return is_word(c) || c == '.' || c == '-'; };
    std::vector<std::string> parts(1);
    for (const char c : text) {
        if (c == '/')
            parts.emplace_back();
        else
            parts.back() += c;
    }
    const bool sound = std::all_of(parts.begin(), parts.end(), [&](const std::string& part) {
        return part.size() <= longest_part && only(part, letter);
    });
    if (!sound || parts.size() < 2 || parts.size() > 3)
        return fail(error_kind::usage,
                    fmt::format("platform {}: must be OS/ARCH or OS/ARCH/VARIANT, as linux/arm64/v8", quoted(text)));
    parts.resize(3);
    return platform{lower_case(parts[0]), lower_case(parts[1]), lower_case(parts[2]), {}, {}};
}

std::string to_string(const platform& p) {
    std::string text = p.os + "/" + p.architecture;
    if (!p.variant.empty()) text += "/" + p.variant;
    return text;
}

platform platform_of_machine(std::string_view machine) {
    return normalised(platform{"linux", std::string(machine), {}, {}, {}});
}

platform this_platform() {
    struct utsname names {};
    ::uname(&names);  // can't fail with a valid buffer
    return platform_of_machine(names.machine);
}

platform normalised(const platform& p) {
    platform out = p;
    out.os = lower_case(p.os);
    out.architecture = lower_case(p.architecture);
    out.variant = lower_case(p.variant);
    if (out.os == "macos") out.os = "darwin";
    for (const other_name& other : other_names) {
        if (out.architecture != other.name) continue;
        out.architecture = other.architecture;
        if (out.variant.empty()) out.variant = other.variant;
        break;
    }
    const std::string_view usual = usual_variant(out.architecture);
    if (usual.empty()) return out;
    if (out.variant.empty()) out.variant = usual;
    if (is_digit(out.variant[0])) out.variant.insert(0, "v");  // "8" was written by old tools
    return out;
}

std::optional<unsigned> distance(const platform& wanted, const platform& offered) {
    const platform w = normalised(wanted);
    const platform o = normalised(offered);
    if (w.os != o.os || w.architecture != o.architecture) return std::nullopt;
    if (w.variant == o.variant) return 0;
    if (usual_variant(w.architecture).empty()) {
        if (w.variant.empty() || o.variant.empty()) return far;
        return std::nullopt;
    }
    const auto want = parse_version(w.variant);
    const auto have = parse_version(o.variant);
    if (!want || !have || *have > *want) return std::nullopt;
    // A major version further away is farther than any minor one.
    return (want->major - have->major) * 1000 +
           (want->major == have->major ? want->minor - have->minor : 999 - have->minor);
}

}  // namespace nerofs::oci
