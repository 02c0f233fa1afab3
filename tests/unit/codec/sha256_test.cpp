#include "codec/sha256.h"

#include <gtest/gtest.h>

#include <string>
#include <string_view>
#include <utility>

#include "codec/hex.h"

namespace nerofs::codec {
namespace {

std::span<const std::byte> bytes_of(std::string_view text) {
    return std::as_bytes(std::span(text));
}

std::string hash(std::string_view text) {
    return to_hex(sha256::of(bytes_of(text)));
}

TEST(sha256, agrees_with_the_examples_of_fips_180) {
    EXPECT_EQ(hash(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    EXPECT_EQ(hash("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    EXPECT_EQ(hash("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"),
              "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
    EXPECT_EQ(hash(std::string(1000000, 'a')), "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST(sha256, pieces_make_the_whole_and_finish_starts_anew) {
    sha256 hasher;
    for (int i = 0; i < 1000; ++i) hasher.update(bytes_of(std::string(1000, 'a')));
    EXPECT_EQ(to_hex(hasher.finish()), "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
    hasher.update(bytes_of("a")).update({}).update(bytes_of("bc"));
    sha256 moved = std::move(hasher);
    EXPECT_EQ(moved.finish(), sha256::of(bytes_of("abc")));
    EXPECT_EQ(moved.finish(), sha256::of({}));
}

TEST(hex, goes_both_ways_and_refuses_all_else) {
    const std::byte bytes[] = {std::byte{0}, std::byte{0x9f}, std::byte{0xff}};
    EXPECT_EQ(to_hex(bytes), "009fff");
    std::byte out[3];
    EXPECT_TRUE(from_hex("009FfF", out));
    EXPECT_EQ(to_hex(out), "009fff");
    EXPECT_FALSE(from_hex("009ff", out));
    EXPECT_FALSE(from_hex("009ffff", out));
    EXPECT_FALSE(from_hex("009fg0", out));
    EXPECT_FALSE(from_hex(" 09fff", out));
    EXPECT_TRUE(from_hex("", {}));
}

}  // namespace
}  // namespace nerofs::codec
