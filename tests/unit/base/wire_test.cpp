#include "base/wire.h"

#include <gtest/gtest.h>

#include <chrono>

#include "base/wire_fields.h"

namespace nerofs {
namespace {

struct point {
    std::int32_t x = 0;
    std::optional<std::string> name;
    friend bool operator==(const point&, const point&) = default;
};
void walk_fields(auto&& take, point& p) {
    take(p.x, p.name);
}
struct drawing {
    std::chrono::seconds age{0};
    std::vector<point> points;
    bool finished = false;
    friend bool operator==(const drawing&, const drawing&) = default;
};
void walk_fields(auto&& take, drawing& d) {
    take(d.age, d.points, d.finished);
}

TEST(wire, what_is_put_comes_back) {
    enum class colour : std::uint8_t { red = 3 };
    wire_writer writer;
    writer.put(std::uint16_t{65535}).put("a b\0c").put(std::string(5000, 'x')).put(colour::red).put(true).put(-5);
    wire_reader reader(writer.bytes());
    EXPECT_EQ(reader.get<std::uint16_t>(), 65535);
    EXPECT_EQ(reader.text(), "a b");
    EXPECT_EQ(reader.text(), std::string(5000, 'x'));
    EXPECT_EQ(reader.get<colour>(), colour::red);
    EXPECT_TRUE(reader.get<bool>());
    EXPECT_EQ(reader.get<int>(), -5);
    EXPECT_TRUE(reader.done());
}

TEST(wire, numbers_are_eight_little_endian_bytes) {
    wire_writer writer;
    writer.put(std::uint32_t{0x01020304});
    ASSERT_EQ(writer.bytes().size(), 8u);
    EXPECT_EQ(writer.bytes()[0], std::byte{4});
    EXPECT_EQ(writer.bytes()[3], std::byte{1});
    EXPECT_EQ(writer.bytes()[7], std::byte{0});
}

TEST(wire, a_short_or_oversized_message_turns_the_reader_bad_and_keeps_it_bad) {
    wire_writer writer;
    writer.put(1000000);
    {
        wire_reader reader(writer.bytes());
        EXPECT_EQ(reader.text(), "");  // claims 1000000 bytes, has none
        EXPECT_FALSE(reader.ok());
    }
    {
        wire_reader reader(writer.bytes());
        EXPECT_EQ(reader.get<std::uint8_t>(), 0);  // 1000000 doesn't fit
        EXPECT_FALSE(reader.ok());
        EXPECT_EQ(reader.get<std::uint64_t>(), 0u);
        EXPECT_FALSE(reader.done());
    }
    wire_reader reader(writer.bytes().first(7));
    EXPECT_EQ(reader.get<std::uint64_t>(), 0u);
    EXPECT_FALSE(reader.ok());
}

TEST(wire, bytes_left_over_are_not_done) {
    wire_writer writer;
    writer.put(1).put(2);
    wire_reader reader(writer.bytes());
    reader.get<int>();
    EXPECT_TRUE(reader.ok());
    EXPECT_FALSE(reader.done());
}

TEST(wire, whole_values_come_back) {
    const drawing sent{std::chrono::seconds(-90), {{-1, "a"}, {2, std::nullopt}, {3, ""}}, true};
    wire_writer writer;
    encode(writer, sent);
    wire_reader reader(writer.bytes());
    drawing got;
    decode(reader, got);
    EXPECT_TRUE(reader.done());
    EXPECT_EQ(got, sent);
    for (std::size_t n = 0; n < writer.bytes().size(); ++n) {
        wire_reader cut(writer.bytes().first(n));
        drawing part;
        decode(cut, part);
        EXPECT_FALSE(cut.ok()) << n;
    }
}

TEST(wire, a_list_that_is_too_long_is_left_over) {
    wire_writer writer;
    encode(writer, std::vector<std::uint32_t>(most_wire_elements + 1));
    wire_reader reader(writer.bytes());
    std::vector<std::uint32_t> got;
    decode(reader, got);
    EXPECT_EQ(got.size(), most_wire_elements);
    EXPECT_FALSE(reader.done());
}

}  // namespace
}  // namespace nerofs
