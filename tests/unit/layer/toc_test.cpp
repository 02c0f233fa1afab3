#include "layer/toc.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <map>
#include <string>
#include <vector>

#include "codec/hex.h"
#include "codec/stream_decoder.h"
#include "codec/zstd_bytes.h"
#include "image.h"

namespace nerofs::layer {
namespace {

using namespace test;
using ::testing::HasSubstr;

const std::string samples = NEROFS_TEST_DATA "/samples/";
// What skopeo and tests/support/estargz said of them.
constexpr std::string_view chunked_place = "90977:790:3315:1";
constexpr std::string_view chunked_digest = "639e01c1066c1dd98d41a8d22dcdc29e4c11133af75ea791b8430b5f5b768904";
constexpr std::string_view estargz_digest = "da58ccc506059eb8892f4136ded7f17c9fc67d6453f76e542320474207fd9997";

std::string file(const std::string& name) {
    std::ifstream in(samples + name, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
}

codec::sha256_digest digest_of(std::string_view hex) {
    codec::sha256_digest digest{};
    EXPECT_TRUE(codec::from_hex(hex, digest));
    return digest;
}

// As many bytes as there are, at most `most`.
std::string decoded(codec::stream_decoder& by, std::span<const std::byte> stored, std::size_t most) {
    std::string out(most, '\0');
    for (std::size_t made = 0; made < most;) {
        const auto step = by.decode(stored, std::as_writable_bytes(std::span(out)).subspan(made));
        if (!step) return step.error().message();
        if (step->made == 0 && step->taken == 0) return out.substr(0, made);
        stored = stored.subspan(step->taken);
        made += step->made;
    }
    return out;
}

std::unique_ptr<codec::stream_decoder> decoder_of(toc_kind kind) {
    return kind == toc_kind::estargz ? std::move(*codec::decode_gzip()) : codec::decode_zstd();
}

struct sample {
    toc_kind kind = toc_kind::estargz;
    std::string blob;
    toc_location where;
    codec::sha256_digest digest{};

    std::span<const std::byte> packed() const { return bytes_of(blob).subspan(where.offset, where.bytes); }
};

sample estargz() {
    sample s{toc_kind::estargz, file("estargz.tar.gz"), {}, digest_of(estargz_digest)};
    s.where = *estargz_toc_location(bytes_of(s.blob).last<estargz_footer_bytes>(), s.blob.size());
    return s;
}

sample chunked() {
    sample s{toc_kind::zstd_chunked, file("chunked.tar.zst"), {}, digest_of(chunked_digest)};
    s.where = *zstd_toc_location(chunked_place, s.blob.size());
    return s;
}

std::string shown(const tar_entry& e, bool fractions) {
    std::string out = std::to_string(static_cast<int>(e.type)) + ' ' + e.path + " -> " + e.link_target + ' ' +
                      std::to_string(e.permissions) + ' ' + std::to_string(e.uid) + ':' + std::to_string(e.gid) + ' ' +
                      std::to_string(e.mtime.seconds) + '.' + std::to_string(fractions ? e.mtime.nanoseconds : 0) +
                      ' ' + std::to_string(e.device_major) + ',' + std::to_string(e.device_minor) + ' ' +
                      std::to_string(e.size);
    for (const auto& a : e.attributes) out += ' ' + a.name + '=' + a.value;
    return out;
}

// The layers say what a reader of their tar sees, and by their chunks all data can be had.
TEST(toc, tells_what_the_tar_has) {
    for (const sample& s : {estargz(), chunked()}) {
        const bool fractions = s.kind == toc_kind::zstd_chunked;
        std::vector<std::string> expected;
        std::map<std::string, std::string> data;
        std::string tar = decoded(*decoder_of(s.kind), bytes_of(s.blob), 1 << 20);
        tar_reader reader([&](tar_entry&& e) -> status {
            if (e.path == "stargz.index.json") return {};
            expected.push_back(shown(e, fractions));
            if (e.size != 0) data[e.path] = tar.substr(e.data_offset, e.size);
            return {};
        });
        ASSERT_TRUE(reader.push(bytes_of(tar)));

        const auto json = unpack_toc(s.where, s.packed(), s.digest);
        ASSERT_TRUE(json) << json.error().message();
        std::vector<tar_entry> members;
        const auto made = parse_toc(*json, s.kind, s.where.offset, [&](tar_entry&& e) -> status {
            members.push_back(std::move(e));
            return {};
        });
        ASSERT_TRUE(made) << made.error().message();
        std::vector<std::string> told;
        for (const tar_entry& m : members) told.push_back(shown(m, fractions));
        EXPECT_EQ(told, expected);

        std::string content(made->content_bytes, '\0');
        for (const toc_chunk& c : made->chunks) {
            const auto stored = bytes_of(s.blob).subspan(c.stored_offset, c.stored_end - c.stored_offset);
            const std::string piece = decoded(*decoder_of(s.kind), stored, c.length);
            EXPECT_EQ(codec::sha256::of(bytes_of(piece)), c.digest);
            content.replace(c.content_offset, c.length, piece);
        }
        EXPECT_GE(made->chunks.size(), 5U);
        ASSERT_EQ(data.size(), 4U);
        for (const tar_entry& m : members) {
            EXPECT_EQ(m.data_offset % 512, 0U);
            EXPECT_TRUE(m.size == 0 || content.substr(m.data_offset, m.size) == data[m.path]) << m.path;
        }
        // zstd:chunked: the hole isn't among the chunks.
        std::uint64_t covered = 0;
        for (const toc_chunk& c : made->chunks) covered += c.length;
        EXPECT_EQ(covered, s.kind == toc_kind::estargz ? 490'711U : 390'711U);
    }
}

TEST(toc, is_not_unpacked_if_it_is_another) {
    for (const sample& s : {estargz(), chunked()}) {
        auto digest = s.digest;
        digest[0] ^= std::byte{1};
        EXPECT_THAT(unpack_toc(s.where, s.packed(), digest).error().message(), HasSubstr("its digest is wrong"));
        EXPECT_EQ(unpack_toc(s.where, s.packed().first(s.packed().size() / 2), s.digest).error().kind,
                  error_kind::corrupt);
        for (std::size_t i = 0; i < s.packed().size(); i += 7) {
            std::vector<std::byte> damaged(s.packed().begin(), s.packed().end());
            damaged[i] ^= std::byte{0x10};
            const auto json = unpack_toc(s.where, damaged, s.digest);
            // Some bytes of gzip's and tar's headers mean nothing.
            EXPECT_TRUE(!json || (s.kind == toc_kind::estargz && codec::sha256::of(*json) == s.digest)) << i;
        }
    }
    sample s = chunked();
    ++s.where.json_bytes;
    EXPECT_EQ(unpack_toc(s.where, s.packed(), s.digest).error().kind, error_kind::corrupt);
}

TEST(toc, is_where_the_footer_says) {
    const sample s = estargz();
    const std::string footer = s.blob.substr(s.blob.size() - estargz_footer_bytes);
    const auto located = [&](const std::string& bytes, std::uint64_t blob) {
        return estargz_toc_location(bytes_of(bytes).first<estargz_footer_bytes>(), blob);
    };
    EXPECT_EQ(s.where.offset + s.where.bytes + estargz_footer_bytes, s.blob.size());
    EXPECT_EQ(located(footer, s.where.offset + estargz_footer_bytes).error().kind, error_kind::corrupt);
    EXPECT_EQ(located(footer, 50).error().kind, error_kind::corrupt);
    EXPECT_EQ(located(footer, s.where.offset + estargz_footer_bytes + max_toc_bytes + 1).error().kind,
              error_kind::unsupported);
    for (const std::size_t at : {0U, 3U, 10U, 12U, 14U, 20U, 35U, 37U}) {
        std::string other = footer;
        other[at] = 'x';
        EXPECT_EQ(located(other, s.blob.size()).error().kind, error_kind::corrupt) << at;
    }
}

TEST(toc, is_where_the_annotation_says) {
    const auto where = zstd_toc_location("5:6:7:1", 11);
    ASSERT_TRUE(where);
    EXPECT_TRUE(where->offset == 5 && where->bytes == 6 && where->json_bytes == 7);
    for (const char* wrong : {"", "5", "5:6:7", "5:6:7:1:", "5:6:7:1:2", "5:6::1", "-5:6:7:1", "5:6:7:1 ", "6:6:7:1",
                              "18446744073709551615:6:7:1", "5:18446744073709551615:7:1", "5:0:7:1"})
        EXPECT_EQ(zstd_toc_location(wrong, 11).error().kind, error_kind::corrupt) << wrong;
    EXPECT_EQ(zstd_toc_location("5:6:7:2", 11).error().kind, error_kind::unsupported);
    EXPECT_EQ(zstd_toc_location("5:6:134217729:1", 11).error().kind, error_kind::unsupported);
}

// ---- tables that were made up

const std::string digest_a = "sha256:" + std::string(64, 'a');
const std::string digest_b = "sha256:" + std::string(64, 'b');

result<toc> parsed(const std::string& json, toc_kind kind = toc_kind::zstd_chunked,
                   std::vector<tar_entry>* members = nullptr) {
    return parse_toc(bytes_of(json), kind, 1000, [&](tar_entry&& e) -> status {
        if (members != nullptr) members->push_back(std::move(e));
        return {};
    });
}

std::string table(const std::string& entries) {
    return R"({"version":1,"entries":[)" + entries + "]}";
}

std::string with_chunk(const std::string& fields) {
    return table(R"({"name":"f","type":"reg","size":10,"offset":100,"endOffset":200,"digest":")" + digest_a +
                 R"(","chunkSize":4,"chunkDigest":")" + digest_a + R"("},{"name":"f","type":"chunk","chunkOffset":4,)" +
                 fields + "}");
}

void expect(error_kind kind, const std::string& why, const std::string& json, toc_kind of = toc_kind::zstd_chunked) {
    const auto made = parsed(json, of);
    ASSERT_FALSE(made) << json;
    EXPECT_EQ(made.error().kind, kind) << json;
    EXPECT_THAT(made.error().message(), HasSubstr(why)) << json;
}

TEST(toc, puts_files_one_behind_the_other) {
    std::vector<tar_entry> members;
    const auto made = parsed(table(R"({"name":"a","type":"reg","size":513,"offset":5,"endOffset":10,"digest":")" +
                                   digest_a + R"("},{"name":"d","type":"dir"},
        {"name":"b","type":"reg","size":600,"offset":10,"endOffset":300,"digest":")" +
                                   digest_b + R"(","chunkSize":100,"chunkDigest":")" + digest_b + R"("},
        {"name":"b","type":"chunk","offset":50,"chunkOffset":100,"chunkSize":400,"chunkType":"zeros"},
        {"name":"b","type":"chunk","offset":60,"chunkOffset":500,"chunkSize":100,"chunkDigest":")" +
                                   digest_a + "\"}"),
                             toc_kind::zstd_chunked, &members);
    ASSERT_TRUE(made) << made.error().message();
    EXPECT_EQ(made->content_bytes, 1024U + 1024U);
    ASSERT_EQ(made->chunks.size(), 3U);
    const auto is = [](const toc_chunk& c, std::uint64_t at, std::uint64_t length, std::uint64_t from,
                       std::uint64_t end) {
        return c.content_offset == at && c.length == length && c.stored_offset == from && c.stored_end == end;
    };
    EXPECT_TRUE(is(made->chunks[0], 0, 513, 5, 10));
    EXPECT_TRUE(is(made->chunks[1], 1024, 100, 10, 50));
    EXPECT_TRUE(is(made->chunks[2], 1524, 100, 60, 300));
    ASSERT_EQ(members.size(), 3U);
    EXPECT_EQ(members[2].data_offset, 1024U);
}

TEST(toc, times_are_rfc_3339) {
    const std::vector<std::pair<std::string, erofs::timestamp>> right{
        {"", {}},
        {"0001-01-01T00:00:00Z", {}},
        {"1970-01-01T00:00:00Z", {}},
        {"2000-02-29T23:59:59.5Z", {951868799, 500'000'000}},
        {"1969-12-31T23:59:58.123456789Z", {-2, 123'456'789}},
        {"2000-01-01T01:30:00+01:30", {946684800, 0}},
        {"1999-12-31T16:00:00-08:00", {946684800, 0}}};
    for (const auto& [text, time] : right) {
        std::vector<tar_entry> members;
        ASSERT_TRUE(
            parsed(table(R"({"name":"d","type":"dir","modtime":")" + text + "\"}"), toc_kind::estargz, &members))
            << text;
        EXPECT_EQ(members.at(0).mtime, time) << text;
    }
    for (const char* wrong : {"x", "2001-02-29T00:00:00Z", "2000-01-01", "2000-01-01T00:00:00", "2000-01-01T00:00:00z",
                              "2000-01-01T24:00:00Z", "2000-01-01T00:00:00+1:00", "2000-01-01T00:00:00ZZ",
                              "2000-13-01T00:00:00Z", "+000-01-01T00:00:00Z"})
        expect(error_kind::corrupt, "a time",
               table(R"({"name":"d","type":"dir","modtime":")" + std::string(wrong) + "\"}"));
}

TEST(toc, that_is_not_enough_is_not_supported) {
    const auto is = [](const std::string& why, const std::string& json, toc_kind of = toc_kind::zstd_chunked) {
        expect(error_kind::unsupported, why, json, of);
    };
    is("version 2", R"({"version":2,"entries":[]})");
    is("version 0", R"({"entries":[]})");
    is("without a sha256", with_chunk(R"("offset":150)"));
    is("without a sha256", with_chunk(R"("offset":150,"chunkDigest":"sha512:aa")"));
    is("of a type nobody here knows", with_chunk(R"("offset":150,"chunkType":"lz","chunkDigest":")" + digest_a + '"'));
    is("doesn't begin where", with_chunk(R"("offset":150,"innerOffset":1,"chunkDigest":")" + digest_a + '"'),
       toc_kind::estargz);
    is("without a place", table(R"({"name":"a","type":"reg","size":1,"endOffset":9,"digest":")" + digest_a + "\"}"));
    is("a type nobody here knows", table(R"({"name":"a","type":"sock"})"));
    is("a type nobody here knows", table(R"({"name":"a"})"));
    is("isn't UTF-8", table("{\"name\":\"caf\\ufffd\",\"type\":\"dir\"}"));
    is("isn't UTF-8", table("{\"name\":\"a\",\"type\":\"symlink\",\"linkName\":\"\xef\xbf\xbd\"}"));
    is("too large chunks",
       table(R"({"name":"a","type":"reg","size":67108865,"offset":1,"endOffset":9,"digest":")" + digest_a + "\"}"));
    is("too much content", table(R"({"name":"a","type":"reg","size":1099511627777,"offset":1,"endOffset":9})"));
}

TEST(toc, that_contradicts_itself_is_corrupt) {
    const std::string right = R"("offset":150,"chunkDigest":")" + digest_b + '"';
    ASSERT_TRUE(parsed(with_chunk(right)));
    const auto is = [](const std::string& why, const std::string& json, toc_kind of = toc_kind::zstd_chunked) {
        expect(error_kind::corrupt, why, json, of);
    };
    is("chunks are missing", with_chunk(right + R"(,"chunkSize":5)"));
    is("beyond the end", with_chunk(right + R"(,"chunkSize":7)"));
    is("don't follow", with_chunk(right + R"(,"chunkOffset":5)"));
    is("another file", with_chunk(right + R"(,"name":"g")"));
    is("don't follow", table(R"({"name":"d","type":"dir"},{"name":"d","type":"chunk","offset":1})"));
    is("another file", table(R"({"name":"d","type":"chunk"})"));
    is("ends nowhere", with_chunk(R"("offset":100,"chunkDigest":")" + digest_b + '"'));
    is("ends nowhere", with_chunk(R"("offset":200,"chunkDigest":")" + digest_b + '"'));
    is("behind the end", with_chunk(R"("offset":1000,"chunkDigest":")" + digest_b + '"'));
    is("ends nowhere", with_chunk(R"("offset":100,"chunkDigest":")" + digest_b + '"'), toc_kind::estargz);
    is("a path", table(R"({"name":"","type":"dir"})"));
    is("a path", table(R"({"name":"a\u0000b","type":"dir"})"));
    is("a path", table(R"({"name":"a","type":"symlink"})"));
    is("a path", table(R"({"name":")" + std::string(4096, 'x') + R"(","type":"dir"})"));
    is("too large a number", table(R"({"name":"a","type":"dir","uid":4294967296})"));
    is("extended attribute", table(R"({"name":"a","type":"dir","xattrs":{"user.a":"*"}})"));
    is("extended attribute", table(R"({"name":"a","type":"dir","xattrs":{"":"YQ=="}})"));
    is("extended attribute", table(R"({"name":"a","type":"dir","xattrs":{"user.a":"YQ==","user.a":"YQ=="}})"));
    is("extended attribute", table(R"({"name":"a","type":"dir","xattrs":{"user.a":1}})"));
    is("a xattrs", table(R"({"name":"a","type":"dir","xattrs":["user.a"]})"));
    is("a size", table(R"({"name":"a","type":"reg","size":-1})"));
    is("a size", table(R"({"name":"a","type":"reg","size":"1"})"));
    is("a size", table(R"({"name":"a","type":"reg","size":{}})"));
    is("a size", table(R"({"name":"a","type":"reg","size":1e3})"));
    is("a name", table(R"({"name":1,"type":"reg"})"));
    is("no object", table("1"));
    is("no object", table("[]"));
    is("no object", table("null"));
    is("two lists", R"({"version":1,"entries":[],"entries":[]})");
    is("no entries", R"({"version":1})");
    is("no entries", R"([{"version":1,"entries":[]}])");
    is("isn't JSON", "");
    is("isn't JSON", R"({"version":1,"entries":[)");
    is("isn't JSON", table("{\"name\":\"\xff\",\"type\":\"dir\"}"));
    is("too deeply", table(R"({"name":"a","type":"dir","x":)" + std::string(20, '[')));
}

TEST(toc, passes_over_what_it_does_not_know) {
    std::vector<tar_entry> members;
    const auto made = parsed(R"({"x":{"entries":[1]},"version":1,"tarSplitDigest":"sha256:x","entries":[
        {"name":"a","annotations":{"name":"b","xattrs":{"user.b":"YQ=="}},"type":"dir","accesstime":"x","xattrs":{"user.a":"YQ=="},
         "uid":null,"list":[{"uid":7}]}]})",
                             toc_kind::estargz, &members);
    ASSERT_TRUE(made) << made.error().message();
    ASSERT_EQ(members.size(), 1U);
    EXPECT_EQ(members[0].path, "a");
    EXPECT_EQ(members[0].uid, 0U);
    EXPECT_EQ(members[0].attributes, (std::vector<erofs::xattr>{{"user.a", "a"}}));
}

TEST(toc, ends_with_the_error_of_who_takes_the_members) {
    const auto made = parse_toc(bytes_of(table(R"({"name":"a","type":"dir"})")), toc_kind::estargz, 10,
                                [](tar_entry&&) -> status { return fail(error_kind::permanent, "enough"); });
    EXPECT_EQ(made.error().kind, error_kind::permanent);
}

}  // namespace
}  // namespace nerofs::layer
