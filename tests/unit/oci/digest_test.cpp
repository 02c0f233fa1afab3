#include "oci/digest.h"

#include <gtest/gtest.h>

#include <string>

#include "oci/digest_check.h"
#include "support.h"

namespace nerofs::oci {
namespace {

const std::string sha256_of_abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
const std::string sha512_of_abc =
    "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a"
    "2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f";

TEST(digest, known_answers) {
    EXPECT_EQ(digest_of(bytes_of("abc")).to_string(), "sha256:" + sha256_of_abc);
    EXPECT_EQ(digest_of(bytes_of("abc"), digest_algorithm::sha512).to_string(), "sha512:" + sha512_of_abc);
    EXPECT_EQ(digest_of({}, digest_algorithm::sha512).hex,
              "cf83e1357eefb8bdf1542850d66d8007d620e4050b5715dc83f4a921d36ce9ce"
              "47d0d13c5d85f2b0ff8318d2877eec2f63b931bd47417a81a538327af927da3e");
    EXPECT_EQ(digest_of(bytes_of(std::string(1000000, 'a')), digest_algorithm::sha512).hex,
              "e718483d0ce769644e2e42c7bc15b4638e1f98b13b2044285632a803afa973eb"
              "de0ff244877ea60a4cb0432ce577c31beb009c5c2c49aa2e4eadb217ad8cc09b");
}

// Every length around the padding's edges, in one piece and byte by byte. The digest of all these digests was made with
// Python's hashlib.
TEST(digest, sha512_of_every_length) {
    std::string all;
    for (std::size_t length = 0; length <= 300; ++length) {
        const std::string text(length, static_cast<char>('a' + length % 26));
        const digest whole = digest_of(bytes_of(text), digest_algorithm::sha512);
        digester pieces(digest_algorithm::sha512);
        for (const char& c : text) pieces.update(std::as_bytes(std::span(&c, 1)));
        EXPECT_EQ(pieces.finish(), whole) << length;
        all += whole.hex + "\n";
    }
    EXPECT_EQ(digest_of(bytes_of(all), digest_algorithm::sha512).hex,
              "bfa3507b549a01986e87673fe6248acbf7c7d61099282a27a302144dc69ed8eb"
              "ad96ee33940e8381df3f6fe618b7609ed56ced639bb71197388e2b340fc666e6");
}

TEST(digest, texts) {
    ASSERT_TRUE(parse_digest("sha256:" + sha256_of_abc));
    EXPECT_EQ(*parse_digest("sha512:" + sha512_of_abc), (digest{digest_algorithm::sha512, sha512_of_abc}));
    const std::tuple<std::string, error_kind, std::string> cases[] = {
        {"", error_kind::corrupt, "digest '': must be sha256: and 64 hex digits"},
        {sha256_of_abc, error_kind::corrupt, "digest '" + sha256_of_abc + "': must be sha256: and 64 hex digits"},
        {":", error_kind::corrupt, "digest ':': must be sha256: and 64 hex digits"},
        {"sha256:ab", error_kind::corrupt, "digest 'sha256:ab': has 2 digits behind sha256:, must have 64"},
        {"sha512:ab", error_kind::corrupt, "digest 'sha512:ab': has 2 digits behind sha512:, must have 128"},
        {"sha256:B" + sha256_of_abc.substr(1), error_kind::corrupt,
         "digest 'sha256:B" + sha256_of_abc.substr(1) + "': must be lower-case hex digits"},
        {"md5:ab", error_kind::unsupported, "digest 'md5:ab': only sha256 and sha512 are known"},
        {"multihash+b58:QmR", error_kind::unsupported, "digest 'multihash+b58:QmR': only sha256 and sha512 are known"},
    };
    for (const auto& [text, kind, message] : cases) {
        const auto parsed = parse_digest(text);
        ASSERT_FALSE(parsed) << text;
        EXPECT_EQ(parsed.error().kind, kind);
        EXPECT_EQ(parsed.error().message(), message);
    }
}

TEST(digest, bytes_are_held_against_it) {
    EXPECT_TRUE(check_digest(bytes_of("abc"), *parse_digest("sha256:" + sha256_of_abc), "x"));
    EXPECT_TRUE(check_digest(bytes_of("abc"), *parse_digest("sha512:" + sha512_of_abc), "x"));
    const auto checked = check_digest(bytes_of("abd"), *parse_digest("sha256:" + sha256_of_abc), "manifest 'x'");
    ASSERT_FALSE(checked);
    EXPECT_EQ(checked.error().kind, error_kind::corrupt);
    EXPECT_EQ(
        checked.error().message(),
        "manifest 'x': its digest is sha256:a52d159f262b2c6ddb724a61840befc36eb30c88877a4030b65cbe86298449c9, but must "
        "be sha256:" +
            sha256_of_abc);
}

}  // namespace
}  // namespace nerofs::oci
