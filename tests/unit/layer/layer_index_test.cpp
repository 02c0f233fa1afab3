#include "layer/layer_index.h"

#include <gtest/gtest.h>

#include <cstring>

namespace nerofs::layer {
namespace {

using bytes = std::vector<std::byte>;

codec::sha256_digest digest_of(std::string_view text) {
    return codec::sha256::of(std::as_bytes(std::span(text)));
}

bytes some(std::size_t size) {
    bytes out(size);
    for (std::size_t i = 0; i < size; ++i) out[i] = static_cast<std::byte>((i * 2654435761U) >> 24);
    return out;
}

layer_index gzip_layer() {
    layer_index index;
    index.how = compression::gzip;
    index.stored_digest = digest_of("stored");
    index.stored_bytes = 900'000;
    index.content_digest = digest_of("content");
    index.content_bytes = (2 << 20) + 7;
    index.units = {digest_of("a"), digest_of("b"), digest_of("c")};
    index.checkpoints = {
        {.stored_offset = 10},
        {.stored_offset = 300'000, .content_offset = 1 << 20, .bits = 5, .window = pack_window(some(32768))},
        {.stored_offset = 300'001, .content_offset = (1 << 20) + 1, .window = pack_window(some(100))}};
    index.tarindex = some(5120);
    index.unresolved = {{"a/b", "c"}, {std::string("\xff\n"), "d/e"}};
    return index;
}

bool same(const layer_index& a, const layer_index& b) {
    return a.how == b.how && a.stored_digest == b.stored_digest && a.stored_bytes == b.stored_bytes &&
           a.content_digest == b.content_digest && a.content_bytes == b.content_bytes && a.unit_bytes == b.unit_bytes &&
           a.units == b.units && a.checkpoints == b.checkpoints && a.chunks == b.chunks && a.tarindex == b.tarindex &&
           std::equal(a.unresolved.begin(), a.unresolved.end(), b.unresolved.begin(), b.unresolved.end(),
                      [](const auto& x, const auto& y) { return x.path == y.path && x.target == y.target; });
}

layer_index by_chunks() {
    layer_index index = gzip_layer();
    index.content_digest = {};
    index.units.clear();
    index.checkpoints.clear();
    index.chunks = {{0, 512, 10, 400, digest_of("a")},
                    {512, 1, 400, 401, digest_of("b")},
                    {1 << 20, (1 << 20) + 7, 500'000, 900'000, digest_of("c")}};
    return index;
}

// The digest at the end made right again.
bytes sealed(bytes file) {
    const auto body = std::span(file).first(file.size() - 32);
    const auto digest = codec::sha256::of(body);
    std::memcpy(file.data() + body.size(), digest.data(), digest.size());
    return file;
}

template <class Change>
std::string why_refused(layer_index index, Change change) {
    change(index);
    const auto file = index.encode();
    return !file && file.error().kind == error_kind::usage ? file.error().text : "taken";
}

TEST(layer_index, comes_back_as_it_was) {
    const layer_index gzip = gzip_layer();
    const auto file = gzip.encode();
    ASSERT_TRUE(file) << file.error().message();
    const auto again = layer_index::parse(*file);
    ASSERT_TRUE(again) << again.error().message();
    EXPECT_TRUE(same(gzip, *again));
    EXPECT_TRUE(unpack_window(again->checkpoints[1].window).value() == some(32768));
    EXPECT_TRUE(unpack_window(again->checkpoints[0].window).value().empty());

    layer_index zstd = gzip_layer();
    zstd.how = compression::zstd;
    zstd.checkpoints = {{}, {.stored_offset = 5, .content_offset = 500}};
    zstd.unresolved.clear();
    EXPECT_TRUE(same(zstd, layer_index::parse(zstd.encode().value()).value()));

    layer_index plain = gzip_layer();
    plain.how = compression::plain;
    plain.stored_bytes = plain.content_bytes;
    plain.stored_digest = plain.content_digest;
    plain.checkpoints.clear();
    EXPECT_TRUE(same(plain, layer_index::parse(plain.encode().value()).value()));

    EXPECT_TRUE(same(by_chunks(), layer_index::parse(by_chunks().encode().value()).value()));
}

TEST(layer_index, every_flipped_bit_is_noticed) {
    for (bytes file : {gzip_layer().encode().value(), by_chunks().encode().value()}) {
        for (std::size_t at = 0; at < file.size(); ++at) {
            file[at] ^= static_cast<std::byte>(1U << at % 8);
            ASSERT_FALSE(layer_index::parse(file)) << at;
            file[at] ^= static_cast<std::byte>(1U << at % 8);
        }
        EXPECT_TRUE(layer_index::parse(file));
    }
}

TEST(layer_index, cut_off_anywhere_is_noticed_even_with_a_digest_that_fits) {
    for (bytes file : {gzip_layer().encode().value(), by_chunks().encode().value()}) {
        for (std::size_t size = 0; size < file.size(); ++size) {
            const bytes part(file.begin(), file.begin() + static_cast<std::ptrdiff_t>(size));
            ASSERT_FALSE(layer_index::parse(part)) << size;
            if (size < 32) continue;
            ASSERT_FALSE(layer_index::parse(sealed(part))) << size;
        }
        file.push_back({});
        EXPECT_FALSE(layer_index::parse(file));
        EXPECT_FALSE(layer_index::parse(sealed(file)));
    }
}

TEST(layer_index, what_each_flipped_byte_says_is_checked_or_harmless) {
    for (const bytes& file : {gzip_layer().encode().value(), by_chunks().encode().value()}) {
        for (std::size_t at = 0; at + 32 < file.size(); ++at) {
            bytes changed = file;
            changed[at] ^= std::byte{0x81};
            const auto parsed = layer_index::parse(sealed(std::move(changed)));
            if (!parsed) continue;
            EXPECT_TRUE(parsed->encode()) << at;
            EXPECT_EQ(parsed->units.size() + parsed->chunks.size(), parsed->unit_count());
        }
    }
}

TEST(layer_index, refuses_what_can_not_be) {
    const auto refused = [](auto change) { return why_refused(gzip_layer(), change); };
    EXPECT_EQ(refused([](layer_index& i) { i.units.pop_back(); }), "layer index: not a digest for each unit");
    EXPECT_EQ(refused([](layer_index& i) { i.unit_bytes = 3 << 19; }), "layer index: units of no proper size");
    EXPECT_EQ(refused([](layer_index& i) { i.content_bytes = 0; }), "layer index: a content of no proper size");
    EXPECT_EQ(refused([](layer_index& i) { i.checkpoints.clear(); }), "layer index: no checkpoints");
    EXPECT_EQ(refused([](layer_index& i) { i.checkpoints.erase(i.checkpoints.begin()); }),
              "layer index: checkpoint 0 isn't the start");
    EXPECT_EQ(refused([](layer_index& i) { i.checkpoints[2].stored_offset = 300'000; }),
              "layer index: checkpoint 2 isn't behind the one before");
    EXPECT_EQ(refused([](layer_index& i) { i.checkpoints[2].content_offset = 1 << 20; }),
              "layer index: checkpoint 2 isn't behind the one before");
    EXPECT_EQ(refused([](layer_index& i) { i.checkpoints[2].stored_offset = 900'000; }),
              "layer index: checkpoint 2 is behind the end");
    EXPECT_EQ(refused([](layer_index& i) { i.checkpoints[1].bits = 8; }),
              "layer index: checkpoint 1 begins within no byte");
    EXPECT_EQ(refused([](layer_index& i) { i.checkpoints[1].window = pack_window(some(32769)); }),
              "layer index: checkpoint 1 has no proper window");
    EXPECT_EQ(refused([](layer_index& i) { i.checkpoints[1].window = some(9); }),
              "layer index: checkpoint 1 has no proper window");
    EXPECT_EQ(refused([](layer_index& i) { i.checkpoints[0].window = pack_window(some(1)); }),
              "layer index: checkpoint 0 has no proper window");
    EXPECT_EQ(refused([](layer_index& i) { i.unresolved[0].target.clear(); }),
              "layer index: a link of no proper length");
    EXPECT_EQ(refused([](layer_index& i) { i.how = compression::plain; }),
              "layer index: a plain layer whose content is another");
}

TEST(layer_index, refuses_chunks_that_can_not_be) {
    const auto refused = [](auto change) { return why_refused(by_chunks(), change); };
    EXPECT_EQ(refused([](layer_index&) {}), "taken");
    for (const auto& why :
         {refused([](layer_index& i) { i.how = compression::plain; }),
          refused([](layer_index& i) { i.content_digest = digest_of("x"); }),
          refused([](layer_index& i) { i.units.resize(1); }), refused([](layer_index& i) { i.checkpoints.resize(1); }),
          refused([](layer_index& i) { i.chunks.resize(max_toc_chunks + 1); })})
        EXPECT_EQ(why, "layer index: chunks and what doesn't go with them");
    EXPECT_EQ(refused([](layer_index& i) { i.chunks[1].length = 0; }), "layer index: chunk 1 has no proper length");
    EXPECT_EQ(refused([](layer_index& i) { i.chunks[1].length = max_toc_chunk_bytes + 1; }),
              "layer index: chunk 1 has no proper length");
    EXPECT_EQ(refused([](layer_index& i) { i.chunks[1].content_offset = 511; }),
              "layer index: chunk 1 isn't behind the one before");
    EXPECT_EQ(refused([](layer_index& i) { i.chunks[1].stored_offset = 399; }),
              "layer index: chunk 1 isn't behind the one before");
    EXPECT_EQ(refused([](layer_index& i) { i.chunks[2].length += 1; }), "layer index: chunk 2 is behind the end");
    EXPECT_EQ(refused([](layer_index& i) { i.chunks[2].stored_end += 1; }), "layer index: chunk 2 is stored nowhere");
    EXPECT_EQ(refused([](layer_index& i) { i.chunks[2].stored_end = 500'000; }),
              "layer index: chunk 2 is stored nowhere");
}

TEST(layer_index, takes_no_larger_tree_than_it_may) {
    const bytes file = gzip_layer().encode().value();
    EXPECT_TRUE(layer_index::parse(file, 5120));
    EXPECT_EQ(layer_index::parse(file, 5119).error().kind, error_kind::corrupt);
}

TEST(layer_index, of_another_version_is_unsupported) {
    bytes file = gzip_layer().encode().value();
    file[8] = std::byte{2};
    EXPECT_EQ(layer_index::parse(sealed(file)).error().message(), "layer index: version 2");
    EXPECT_EQ(layer_index::parse(sealed(file)).error().kind, error_kind::unsupported);
}

TEST(layer_index, finds_the_checkpoint_before_a_byte) {
    const layer_index index = gzip_layer();
    EXPECT_EQ(index.checkpoint_before(0), 0U);
    EXPECT_EQ(index.checkpoint_before((1 << 20) - 1), 0U);
    EXPECT_EQ(index.checkpoint_before(1 << 20), 1U);
    EXPECT_EQ(index.checkpoint_before((1 << 20) + 1), 2U);
    EXPECT_EQ(index.checkpoint_before(1 << 30), 2U);
}

}  // namespace
}  // namespace nerofs::layer
