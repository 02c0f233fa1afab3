// Content on disk from earlier, right, changed, or not there as a whole.
#include "fetch/kept_chunks.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <optional>

#include "cache/store.h"
#include "codec/sha256.h"
#include "support/scratch_directory.h"

namespace nerofs::fetch {
namespace {

using bytes = std::vector<std::byte>;
constexpr std::uint64_t chunk = cache::chunk_bytes;

bytes some(std::uint64_t size) {
    bytes out(size);
    for (std::uint64_t i = 0; i < size; ++i) out[i] = static_cast<std::byte>((i * 2654435761u >> 13) | 1);
    return out;
}

layer::layer_index uniform(const bytes& content) {
    layer::layer_index index;
    index.content_bytes = content.size();
    index.unit_bytes = 4 * chunk;
    for (std::size_t i = 0; i < index.unit_count(); ++i) {
        const auto [begin, end] = index.unit(i);
        index.units.push_back(codec::sha256::of(std::span(content).subspan(begin, end - begin)));
    }
    return index;
}

// A blob in a store, written in one use and looked at in another.
class kept {
  public:
    kept(const bytes& content, layer::layer_index index, cache::chunk_range filled)
        : index_(std::make_shared<layer::layer_index>(std::move(index))),
          store_(cache::store::open({scratch_.path() + "/cache", scratch_.path() + "/run", 0, {}}).value()),
          key_(cache::blob_key::from_digest("sha256:" + std::string(64, 'a'), content.size()).value()) {
        const auto held = store_.open_blob(key_).value();
        const auto writer = cache::blob_writer::attach(held.for_writer().value(), content.size()).value();
        EXPECT_EQ(writer.claim(filled), filled.count());
        auto fill = writer.fill(filled);
        EXPECT_TRUE(
            fill.append(std::span(content).subspan(fill.next_offset(), fill.end_offset() - fill.next_offset())));
        EXPECT_TRUE(writer.checkpoint());
    }
    void flip(std::uint64_t at) const {
        for (const auto& file : std::filesystem::recursive_directory_iterator(scratch_.path() + "/cache/blobs")) {
            if (!file.path().filename().string().starts_with("data")) continue;
            const int fd = ::open(file.path().c_str(), O_RDWR);
            std::byte byte{};
            EXPECT_EQ(::pread(fd, &byte, 1, static_cast<off_t>(at)), 1);
            byte ^= std::byte{4};
            EXPECT_EQ(::pwrite(fd, &byte, 1, static_cast<off_t>(at)), 1);
            ::close(fd);
        }
    }
    void open() {
        EXPECT_TRUE(store_.settle(key_));
        held_ = store_.open_blob(key_, cache::kept_bytes::to_be_checked).value();
        writer_.emplace(cache::blob_writer::attach(held_.for_writer().value(), key_.size()).value());
        chunks_ = std::make_unique<kept_chunks>(*writer_, index_);
        view_.emplace(*writer_, chunks_.get());
    }

    kept_chunks& chunks() { return *chunks_; }
    // Of each chunk: there for readers, kept, or to be fetched.
    std::string shown() const {
        std::string out;
        for (std::uint64_t c = 0; c < writer_->map().chunks(); ++c) {
            EXPECT_NE(view_->present(c), view_->available(c)) << c;
            out += writer_->map().present(c) ? 'P' : chunks_->has(c) ? 'k' : '.';
        }
        return out;
    }

  private:
    test::scratch_directory scratch_;
    std::shared_ptr<const layer::layer_index> index_;
    cache::store store_;
    cache::blob_key key_;
    cache::held_blob held_;
    std::optional<cache::blob_writer> writer_;
    std::unique_ptr<kept_chunks> chunks_;
    std::optional<unfetched_chunks> view_;
};

TEST(kept_chunks, are_there_when_their_unit_was_looked_at) {
    const bytes content = some(10 * chunk + 5);
    kept blob(content, uniform(content), {0, 11});
    blob.open();
    EXPECT_EQ(blob.shown(), "kkkkkkkkkkk");
    EXPECT_EQ(blob.chunks().bytes(), 11 * chunk);
    blob.chunks().look_at(5 * chunk + 7, 1);
    EXPECT_EQ(blob.shown(), "kkkkPPPPkkk");
    blob.chunks().look_at(10 * chunk, 5);
    EXPECT_EQ(blob.shown(), "kkkkPPPPPPP");
    blob.chunks().look_at(3 * chunk, 2 * chunk);
    EXPECT_EQ(blob.shown(), "PPPPPPPPPPP");
    EXPECT_EQ(blob.chunks().bytes(), 0U);
    blob.chunks().look_at(0, content.size());
    blob.chunks().look_at(content.size(), 10);
}

TEST(kept_chunks, of_a_changed_unit_have_to_be_fetched) {
    const bytes content = some(10 * chunk + 5);
    kept blob(content, uniform(content), {0, 11});
    blob.flip(6 * chunk + 9);
    blob.flip(10 * chunk + 4);
    blob.open();
    blob.chunks().look_at(0, content.size());
    EXPECT_EQ(blob.shown(), "PPPP.......");
}

TEST(kept_chunks, of_a_part_of_a_unit_have_to_be_fetched) {
    const bytes content = some(10 * chunk + 5);
    kept blob(content, uniform(content), {2, 9});
    blob.open();
    EXPECT_EQ(blob.shown(), "..kkkkkkk..");
    blob.chunks().look_at(0, content.size());
    EXPECT_EQ(blob.shown(), "....PPPP...");
}

// Units of any length at any place, with zeros between.
TEST(kept_chunks, by_a_table_of_contents) {
    bytes content(10 * chunk);
    layer::layer_index index;
    index.how = layer::compression::gzip;
    index.content_bytes = content.size();
    const bytes data = some(content.size());
    for (const auto& [at, length] : {std::pair{std::uint64_t{0}, 100 + chunk / 2},
                                     {chunk / 2 + 512, 100},
                                     {2 * chunk - 512, 3 * chunk},
                                     {6 * chunk, chunk},
                                     {9 * chunk, chunk}}) {
        const auto part = std::span(data).subspan(at, length);
        std::copy(part.begin(), part.end(), content.begin() + static_cast<std::ptrdiff_t>(at));
        index.chunks.push_back({at, length, 0, 0, codec::sha256::of(part)});
    }
    for (const std::uint64_t at : {std::uint64_t{0}, std::uint64_t{1}, 5 * chunk - 100}) {
        kept blob(content, index, {0, 10});
        if (at != 0) blob.flip(at);
        blob.open();
        blob.chunks().look_at(0, 1);
        EXPECT_EQ(blob.shown(), at == 1 ? ".kkkkkkkkk" : "Pkkkkkkkkk");
        blob.chunks().look_at(2 * chunk, 1);
        blob.chunks().look_at(6 * chunk, 4 * chunk);
        EXPECT_EQ(blob.shown().substr(2), "PPkkPPPP") << at;
        blob.chunks().look_at(4 * chunk, 1);  // the end of a unit, and zeros
        EXPECT_EQ(blob.shown().substr(2), at > 1 ? "PP.kPPPP" : "PPPkPPPP") << at;
    }
    // Where only zeros belong.
    kept blob(content, index, {0, 10});
    blob.flip(8 * chunk + 5);
    blob.open();
    blob.chunks().look_at(0, content.size());
    EXPECT_EQ(blob.shown(), "PPPPPPPP.P");
}

}  // namespace
}  // namespace nerofs::fetch
