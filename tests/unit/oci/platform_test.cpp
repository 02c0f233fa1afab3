#include "oci/platform.h"

#include <gtest/gtest.h>

#include <optional>
#include <string>

namespace nerofs::oci {
namespace {

TEST(platform, texts) {
    EXPECT_EQ(*parse_platform("linux/amd64"), (platform{"linux", "amd64", "", "", {}}));
    EXPECT_EQ(*parse_platform("Linux/ARM64/v8"), (platform{"linux", "arm64", "v8", "", {}}));
    EXPECT_EQ(to_string(*parse_platform("linux/arm/v7")), "linux/arm/v7");
    EXPECT_EQ(to_string(*parse_platform("windows/amd64")), "windows/amd64");
    for (const std::string bad :
         {"", "linux", "linux/", "/amd64", "linux//v8", "a/b/c/d", "linux/am d64", "linux/amd64/"}) {
        const auto parsed = parse_platform(bad);
        ASSERT_FALSE(parsed) << bad;
        EXPECT_EQ(parsed.error().kind, error_kind::usage);
        EXPECT_EQ(parsed.error().message(),
                  "platform '" + bad + "': must be OS/ARCH or OS/ARCH/VARIANT, as linux/arm64/v8");
    }
}

TEST(platform, machines) {
    const std::pair<const char*, const char*> cases[] = {
        {"x86_64", "linux/amd64/v1"},     {"i686", "linux/386"},        {"aarch64", "linux/arm64/v8"},
        {"armv7l", "linux/arm/v7"},       {"armv6l", "linux/arm/v6"},   {"armv8l", "linux/arm/v8"},
        {"riscv64", "linux/riscv64"},     {"ppc64le", "linux/ppc64le"}, {"s390x", "linux/s390x"},
        {"loongarch64", "linux/loong64"}, {"e2k", "linux/e2k"},
    };
    for (const auto& [machine, text] : cases) EXPECT_EQ(to_string(platform_of_machine(machine)), text);
    EXPECT_EQ(this_platform().os, "linux");
    EXPECT_FALSE(this_platform().architecture.empty());
}

TEST(platform, what_suits_what) {
    struct suits {
        const char* wanted;
        const char* offered;
        std::optional<unsigned> distance;
    };
    const suits cases[] = {
        {"linux/amd64", "linux/amd64", 0},
        {"linux/amd64", "linux/amd64/v1", 0},
        {"linux/x86_64", "linux/amd64", 0},
        {"linux/amd64", "linux/amd64/v2", std::nullopt},
        {"linux/amd64/v3", "linux/amd64/v2", 1999},
        {"linux/amd64/v3", "linux/amd64", 2999},
        {"linux/arm64", "linux/arm64/v8", 0},
        {"linux/arm64/v8", "linux/arm64", 0},
        {"linux/aarch64", "linux/arm64/8", 0},
        {"linux/arm64", "linux/arm64/v9", std::nullopt},
        {"linux/arm64/v9", "linux/arm64", 1999},
        {"linux/arm64/v8.2", "linux/arm64/v8", 2},
        {"linux/arm64/v9", "linux/arm64/v8.5", 1994},
        {"linux/arm", "linux/arm/v7", 0},
        {"linux/arm/v7", "linux/arm", 0},
        {"linux/arm/v7", "linux/arm/v6", 1999},
        {"linux/arm/v7", "linux/arm/v5", 2999},
        {"linux/arm/v6", "linux/arm/v7", std::nullopt},
        {"linux/arm/v6", "linux/arm", std::nullopt},
        {"linux/armhf", "linux/arm/v6", 1999},
        {"linux/arm64", "linux/arm/v7", std::nullopt},
        {"linux/amd64", "linux/386", std::nullopt},
        {"linux/amd64", "windows/amd64", std::nullopt},
        {"linux/arm64/custom", "linux/arm64/custom", 0},
        {"linux/arm64/custom", "linux/arm64", std::nullopt},
        {"linux/ppc64le", "linux/ppc64le/power9", 1000000},
        {"linux/ppc64le/power9", "linux/ppc64le", 1000000},
        {"linux/ppc64le/power9", "linux/ppc64le/power8", std::nullopt},
        {"darwin/arm64", "macos/arm64", 0},
        {"unknown/unknown", "linux/amd64", std::nullopt},
    };
    for (const suits& c : cases)
        EXPECT_EQ(distance(*parse_platform(c.wanted), *parse_platform(c.offered)), c.distance)
            << c.wanted << " <- " << c.offered;
}

}  // namespace
}  // namespace nerofs::oci
