#include "oci/reference.h"

#include <gtest/gtest.h>

#include <string>

namespace nerofs::oci {
namespace {

const std::string hex64 = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
const std::string hint = "; an image is [REGISTRY/]NAME[:TAG][@sha256:HEX]";

struct understood {
    std::string text;
    reference image;
    std::string canonical;
    std::string api;
};

TEST(reference, as_people_write_them) {
    const std::string sha = "sha256:" + hex64;
    const std::string sha512 = "sha512:" + hex64 + hex64;
    const understood cases[] = {
        {"python:3.12",
         {"docker.io", "library/python", "3.12", ""},
         "docker.io/library/python:3.12",
         "registry-1.docker.io"},
        {"python",
         {"docker.io", "library/python", "latest", ""},
         "docker.io/library/python:latest",
         "registry-1.docker.io"},
        {"me/app", {"docker.io", "me/app", "latest", ""}, "docker.io/me/app:latest", "registry-1.docker.io"},
        {"a/b/c:1", {"docker.io", "a/b/c", "1", ""}, "docker.io/a/b/c:1", "registry-1.docker.io"},
        {"docker.io/python",
         {"docker.io", "library/python", "latest", ""},
         "docker.io/library/python:latest",
         "registry-1.docker.io"},
        {"index.docker.io/python:3",
         {"docker.io", "library/python", "3", ""},
         "docker.io/library/python:3",
         "registry-1.docker.io"},
        {"Registry-1.Docker.io/me/x",
         {"docker.io", "me/x", "latest", ""},
         "docker.io/me/x:latest",
         "registry-1.docker.io"},
        {"ghcr.io/o/r@" + sha, {"ghcr.io", "o/r", "", sha}, "ghcr.io/o/r@" + sha, "ghcr.io"},
        {"ghcr.io/o/r:t@" + sha, {"ghcr.io", "o/r", "t", sha}, "ghcr.io/o/r:t@" + sha, "ghcr.io"},
        {"r@" + sha512,
         {"docker.io", "library/r", "", sha512},
         "docker.io/library/r@" + sha512,
         "registry-1.docker.io"},
        {"host:5000/a/b:tag", {"host:5000", "a/b", "tag", ""}, "host:5000/a/b:tag", "host:5000"},
        {"host:5000/a", {"host:5000", "a", "latest", ""}, "host:5000/a:latest", "host:5000"},
        {"localhost/x", {"localhost", "x", "latest", ""}, "localhost/x:latest", "localhost"},
        {"localhost:5000/x:1", {"localhost:5000", "x", "1", ""}, "localhost:5000/x:1", "localhost:5000"},
        {"[::1]:5000/x", {"[::1]:5000", "x", "latest", ""}, "[::1]:5000/x:latest", "[::1]:5000"},
        {"[FE80::1]/x:y", {"[fe80::1]", "x", "y", ""}, "[fe80::1]/x:y", "[fe80::1]"},
        {"GHCR.io/o/r", {"ghcr.io", "o/r", "latest", ""}, "ghcr.io/o/r:latest", "ghcr.io"},
        {"LOCALHOST/x", {"localhost", "x", "latest", ""}, "localhost/x:latest", "localhost"},
        {"127.0.0.1:5000/a__b/c-d.e",
         {"127.0.0.1:5000", "a__b/c-d.e", "latest", ""},
         "127.0.0.1:5000/a__b/c-d.e:latest",
         "127.0.0.1:5000"},
        {"x:_UP.per-1",
         {"docker.io", "library/x", "_UP.per-1", ""},
         "docker.io/library/x:_UP.per-1",
         "registry-1.docker.io"},
    };
    for (const understood& c : cases) {
        const auto image = parse_reference(c.text);
        ASSERT_TRUE(image) << image.error().message();
        EXPECT_EQ(*image, c.image) << c.text;
        EXPECT_EQ(to_string(*image), c.canonical);
        EXPECT_EQ(api_host(*image), c.api);
        const auto again = parse_reference(c.canonical);
        ASSERT_TRUE(again) << again.error().message();
        EXPECT_EQ(*again, *image) << c.text;
    }
}

TEST(reference, malformed_ones_are_explained) {
    const std::pair<std::string, std::string> cases[] = {
        {"", "image '': there is no name" + hint},
        {":x", "image ':x': there is no name" + hint},
        {"r.io/", "image 'r.io/': there is no name" + hint},
        {"a//b", "image 'a//b': the name has an empty part between slashes" + hint},
        {"a/", "image 'a/': the name has an empty part between slashes" + hint},
        {"Debian", "image 'Debian': the name must be in lower-case letters" + hint},
        {"MyOrg/app", "image 'MyOrg/app': the name must be in lower-case letters" + hint},
        {"a b", "image 'a b': the name may hold lower-case letters, digits and . _ - / only" + hint},
        {"a\n", "image 'a\\x0a': the name may hold lower-case letters, digits and . _ - / only" + hint},
        {"na\xc3\xafve",
         "image 'na\\xc3\\xafve': the name may hold lower-case letters, digits and . _ - / only" + hint},
        {"-a", "image '-a': each part of the name must begin and end with a letter or digit" + hint},
        {"a/b.", "image 'a/b.': each part of the name must begin and end with a letter or digit" + hint},
        {"a:", "image 'a:': there is no tag behind the colon" + hint},
        {"a:.x", "image 'a:.x': a tag must not begin with '.' or '-'" + hint},
        {"a:x y", "image 'a:x y': a tag may hold letters, digits and . _ - only" + hint},
        {"a:" + std::string(129, 't'),
         "image 'a:" + std::string(129, 't') + "': the tag is longer than 128 characters" + hint},
        {std::string(248, 'a'),
         "image '" + std::string(160, 'a') + "...': the name is longer than 255 characters" + hint},
        {"r.io:0/a", "image 'r.io:0/a': the registry is not HOST or HOST:PORT" + hint},
        {"r.io:65536/a", "image 'r.io:65536/a': the registry is not HOST or HOST:PORT" + hint},
        {"r.io:x/a", "image 'r.io:x/a': the registry is not HOST or HOST:PORT" + hint},
        {"../a", "image '../a': the registry is not HOST or HOST:PORT" + hint},
        {"[::1/a", "image '[::1/a': the registry is not HOST or HOST:PORT" + hint},
        {"[::1]5000/a", "image '[::1]5000/a': the registry is not HOST or HOST:PORT" + hint},
        {"x@sha256:", "image 'x@sha256:': the digest is not sha256: and 64 hex digits" + hint},
        {"x@sha256:" + hex64.substr(1),
         "image 'x@sha256:" + hex64.substr(1) + "': the digest is not sha256: and 64 hex digits" + hint},
        {"x@sha512:" + hex64, "image 'x@sha512:" + hex64 + "': the digest is not sha512: and 128 hex digits" + hint},
        {"x@md5:0123", "image: '@' must be followed by sha256: and 64 hex digits"},
        {"me:hunter2@r.io/a", "image: '@' must be followed by sha256: and 64 hex digits"},
    };
    for (const auto& [text, message] : cases) {
        const auto image = parse_reference(text);
        ASSERT_FALSE(image) << text;
        EXPECT_EQ(image.error().kind, error_kind::usage);
        EXPECT_EQ(image.error().message(), message);
    }
}

TEST(reference, the_longest_names_there_may_be) {
    const auto image = parse_reference(std::string(247, 'a') + ":" + std::string(128, 't'));
    ASSERT_TRUE(image);
    EXPECT_EQ(image->repository.size(), 255u);
    EXPECT_TRUE(parse_reference(to_string(*image)));
    EXPECT_TRUE(parse_reference("r.io/" + std::string(255, 'a')));
    EXPECT_FALSE(parse_reference("r.io/" + std::string(256, 'a')));
    EXPECT_TRUE(parse_reference(std::string(251, 'h') + ".x:65535/a"));
    EXPECT_FALSE(parse_reference(std::string(252, 'h') + ".x/a"));
    EXPECT_TRUE(parse_reference("[ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255]/a"));
    EXPECT_FALSE(parse_reference("[" + std::string(46, ':') + "]/a"));
}

TEST(reference, the_digest_names_the_manifest_when_there_is_one) {
    EXPECT_EQ(manifest_name(*parse_reference("a:t")), "t");
    EXPECT_EQ(manifest_name(*parse_reference("a:t@sha256:" + hex64)), "sha256:" + hex64);
    EXPECT_EQ(repository_name(*parse_reference("a:t")), "docker.io/library/a");
}

TEST(reference, loopback) {
    for (const char* here : {"localhost", "LocalHost:5000", "127.0.0.1", "127.1.2.3:80", "[::1]", "[::1]:5000"})
        EXPECT_TRUE(is_loopback(here)) << here;
    for (const char* there : {"127.evil.example", "127.0.0.1.evil.example", "localhost.example", "[::2]", "[::1",
                              "[::1]x", "128.0.0.1", "", "1127.0.0.1"})
        EXPECT_FALSE(is_loopback(there)) << there;
}

}  // namespace
}  // namespace nerofs::oci
