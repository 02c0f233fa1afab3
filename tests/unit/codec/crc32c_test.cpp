#include "codec/crc32c.h"

#include <gtest/gtest.h>

#include <cstring>
#include <numeric>
#include <string_view>
#include <vector>

namespace nerofs::codec {
namespace {

std::span<const std::byte> bytes_of(std::string_view text) {
    return std::as_bytes(std::span(text));
}

void expect_crc(std::span<const std::byte> bytes, std::uint32_t expected) {
    EXPECT_EQ(crc32c(bytes), expected);
    EXPECT_EQ(crc32c_portable(bytes), expected);
}

TEST(crc32c, agrees_with_the_check_value_of_the_catalogue) {
    expect_crc(bytes_of("123456789"), 0xe3069283);
    expect_crc({}, 0);
}

TEST(crc32c, agrees_with_the_examples_of_rfc_3720) {
    std::vector<std::byte> block(32);
    expect_crc(block, 0x8a9136aa);
    std::fill(block.begin(), block.end(), std::byte{0xff});
    expect_crc(block, 0x62a8ab43);
    for (std::size_t i = 0; i < 32; ++i) block[i] = static_cast<std::byte>(i);
    expect_crc(block, 0x46dd794e);
    for (std::size_t i = 0; i < 32; ++i) block[i] = static_cast<std::byte>(31 - i);
    expect_crc(block, 0x113fdb5c);
}

TEST(crc32c, pieces_make_the_whole_wherever_they_are_cut_and_however_they_are_aligned) {
    std::vector<std::byte> data(300);
    for (std::size_t i = 0; i < data.size(); ++i) data[i] = static_cast<std::byte>(i * 131 + 7);
    for (std::size_t start = 0; start < 9; ++start) {
        const auto part = std::span<const std::byte>(data).subspan(start);
        const std::uint32_t whole = crc32c_portable(part);
        EXPECT_EQ(crc32c(part), whole);
        for (std::size_t cut = 0; cut <= part.size(); ++cut) {
            ASSERT_EQ(crc32c(part.subspan(cut), crc32c(part.first(cut))), whole) << start << " " << cut;
            ASSERT_EQ(crc32c_portable(part.subspan(cut), crc32c_portable(part.first(cut))), whole)
                << start << " " << cut;
        }
    }
}

}  // namespace
}  // namespace nerofs::codec
