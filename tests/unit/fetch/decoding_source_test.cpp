// Layers that gzip, pigz and zstd wrote, read in ranges of their content from a source that is right, slow, short or
// wrong.
#include "fetch/decoding_source.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <deque>
#include <functional>
#include <future>
#include <mutex>
#include <random>
#include <set>
#include <thread>

#include "codec/hex.h"
#include "layer/ingest.h"
#include "support/layer_samples.h"

namespace nerofs::fetch {
namespace {

using namespace std::chrono_literals;
using nerofs::test::filtered;
using nerofs::test::sample_tar;
using bytes = std::vector<std::byte>;

constexpr std::uint64_t unit = layer::default_unit_bytes;

// A blob in memory, brought by a thread of its own, one read after the other.
class memory_source final : public source::byte_source {
  public:
    explicit memory_source(bytes blob) : blob_(std::move(blob)), thread_([this] { run(); }) {}
    ~memory_source() override {
        {
            const std::lock_guard lock(mutex_);
            closing_ = true;
            open_ = true;
        }
        changed_.notify_all();
        thread_.join();
    }

    id read(source::read_request what, completion done) override {
        const std::lock_guard lock(mutex_);
        asked_.push_back({what.offset, what.length});
        deadlines_.push_back(what.deadline);
        waiting_.push_back({++last_, std::move(what), std::move(done)});
        changed_.notify_all();
        return last_;
    }
    void cancel(id which) override {
        const std::lock_guard lock(mutex_);
        cancelled_.insert(which);
        changed_.notify_all();
    }

    // How it behaves; set before reads.
    std::size_t piece = 20'000;                           // bytes at a time
    std::function<void(std::uint64_t, bytes&)> change{};  // what is brought, from this offset on
    std::function<status(std::uint64_t)> fails_at{};      // before the piece at this offset
    std::uint64_t short_by = 0;                           // bytes that are missing at the end, without an error
    std::uint64_t closed_at = ~std::uint64_t{0};          // nothing from here on is brought before open()

    void open() {
        const std::lock_guard lock(mutex_);
        open_ = true;
        changed_.notify_all();
    }
    void wait_until_asked(std::size_t times) {
        std::unique_lock lock(mutex_);
        changed_.wait(lock, [&] { return asked_.size() >= times; });
    }
    // Each read that was asked for, {offset, length}.
    std::vector<std::pair<std::uint64_t, std::uint64_t>> asked() {
        const std::lock_guard lock(mutex_);
        return asked_;
    }
    std::size_t cancelled() {
        const std::lock_guard lock(mutex_);
        return cancelled_.size();
    }
    std::uint64_t most_in_flight() {
        const std::lock_guard lock(mutex_);
        return most_in_flight_;
    }
    http::time_point last_deadline() {
        const std::lock_guard lock(mutex_);
        return deadlines_.back();
    }

  private:
    struct job {
        id number = 0;
        source::read_request what;
        completion done;
    };

    void run() {
        for (;;) {
            job j;
            {
                std::unique_lock lock(mutex_);
                changed_.wait(lock, [&] { return closing_ || !waiting_.empty(); });
                if (waiting_.empty()) return;
                std::uint64_t in_flight = 0;
                for (const job& w : waiting_) in_flight += w.what.length;
                most_in_flight_ = std::max(most_in_flight_, in_flight);
                j = std::move(waiting_.front());
                waiting_.pop_front();
            }
            source::read_result result;
            result.requests = 1;
            result.how = bring(j, result.delivered);
            j.done(result);
        }
    }
    status bring(const job& j, std::uint64_t& delivered) {
        while (delivered < j.what.length - std::min(short_by, j.what.length)) {
            const std::uint64_t at = j.what.offset + delivered;
            {
                std::unique_lock lock(mutex_);
                const auto may = [&] { return open_ || at < closed_at || cancelled_.count(j.number) != 0; };
                if (!changed_.wait_until(lock, std::min(j.what.deadline, http::time_point::clock::now() + 60s), may))
                    return fail(error_kind::timeout, "the server is slow");
                if (closing_ || cancelled_.count(j.number) != 0) return fail(error_kind::cancelled, "cancelled below");
            }
            if (fails_at) {
                if (auto how = fails_at(at); !how) return how;
            }
            const std::size_t now =
                std::min<std::uint64_t>(piece, j.what.length - std::min(short_by, j.what.length) - delivered);
            bytes some(blob_.begin() + static_cast<std::ptrdiff_t>(at),
                       blob_.begin() + static_cast<std::ptrdiff_t>(at + now));
            if (change) change(at, some);
            if (auto taken = j.what.sink(at, some); !taken) return taken;
            delivered += now;
        }
        return {};
    }

    const bytes blob_;
    std::mutex mutex_;
    std::condition_variable changed_;
    std::deque<job> waiting_;
    std::vector<std::pair<std::uint64_t, std::uint64_t>> asked_;
    std::vector<http::time_point> deadlines_;
    std::set<id> cancelled_;
    id last_ = 0;
    std::uint64_t most_in_flight_ = 0;
    bool open_ = false;
    bool closing_ = false;
    std::thread thread_;
};

struct outcome {
    bytes got;
    source::read_result result;
};

// A read whose end can be waited for. Sink and completion are held to what byte_source promises.
class reading {
  public:
    reading(decoding_source& from, std::uint64_t offset, std::uint64_t length,
            http::time_point deadline = http::time_point::max(), std::function<status(std::uint64_t)> sink = {},
            http::priority priority = http::priority::demand)
        : shared_(std::make_shared<shared>()) {
        shared_->next = offset;
        source::read_request what;
        what.offset = offset;
        what.length = length;
        what.deadline = deadline;
        what.priority = priority;
        what.sink = [s = shared_, sink](std::uint64_t at, std::span<const std::byte> some) -> status {
            EXPECT_FALSE(s->over);
            EXPECT_EQ(at, s->next);
            if (sink) {
                if (auto how = sink(at); !how) return how;
            }
            s->next += some.size();
            s->out.got.insert(s->out.got.end(), some.begin(), some.end());
            return {};
        };
        number = from.read(std::move(what), [s = shared_](source::read_result how) {
            EXPECT_FALSE(s->over.exchange(true));
            EXPECT_EQ(how.delivered, s->out.got.size());
            s->out.result = std::move(how);
            s->end.set_value();
        });
    }
    outcome wait() {
        shared_->end.get_future().wait();
        return std::move(shared_->out);
    }
    source::byte_source::id number = 0;

  private:
    struct shared {
        std::uint64_t next = 0;
        std::atomic<bool> over{false};
        outcome out;
        std::promise<void> end;
    };
    std::shared_ptr<shared> shared_;
};

std::shared_ptr<const layer::layer_index> index_of_blob(std::span<const std::byte> stored) {
    layer::layer_ingest pass({});
    if (const auto pushed = pass.push(stored); !pushed) throw std::runtime_error(pushed.error().message());
    auto index = pass.finish();
    if (!index) throw std::runtime_error(index.error().message());
    return std::make_shared<const layer::layer_index>(std::move(*index));
}

const bytes& gzip_blob() {
    static const bytes made = filtered("gzip -n -6", sample_tar());
    return made;
}

struct layer_under_test {
    explicit layer_under_test(const bytes& blob, decoding_source_options options = {})
        : layer_under_test(blob, index_of_blob(blob), options) {}
    layer_under_test(const bytes& blob, std::shared_ptr<const layer::layer_index> with,
                     decoding_source_options options = {})
        : index(std::move(with)), below(blob) {
        content = std::make_unique<decoding_source>(index, below, options);
    }
    outcome read(std::uint64_t offset, std::uint64_t length) { return reading(*content, offset, length).wait(); }

    std::shared_ptr<const layer::layer_index> index;
    memory_source below;
    std::unique_ptr<decoding_source> content;
};

bool is_content(const bytes& got, std::uint64_t offset, std::uint64_t length) {
    const auto expected = std::span(sample_tar()).subspan(offset, length);
    return std::equal(got.begin(), got.end(), expected.begin(), expected.end());
}

// Everything at once, each unit, and ranges of any kind.
void expect_content(const bytes& blob) {
    layer_under_test layer(blob);
    const std::uint64_t size = sample_tar().size();
    const auto all = layer.read(0, size);
    ASSERT_TRUE(all.result.how) << all.result.how.error().message();
    EXPECT_TRUE(all.got == sample_tar());
    EXPECT_EQ(layer.below.asked().size(), 1 + blob.size() / decoding_source_options{}.piece_bytes);
    EXPECT_EQ(all.result.requests, layer.below.asked().size());
    std::minstd_rand random(7);
    std::vector<std::pair<std::uint64_t, std::uint64_t>> ranges = {
        {size - 1, 1}, {0, 1}, {unit - 1, 2}, {size, 0}, {5, 0}};
    for (std::uint64_t at = 0; at < size; at += unit) ranges.push_back({at, std::min(unit, size - at)});
    for (int i = 0; i < 15; ++i) {
        const std::uint64_t offset = random() % size;
        ranges.push_back({offset, random() % std::min<std::uint64_t>(size - offset, 3'000'000)});
    }
    std::deque<reading> started;
    for (const auto& [offset, length] : ranges) started.emplace_back(*layer.content, offset, length);
    for (std::size_t i = 0; i < ranges.size(); ++i) {
        const outcome one = started[i].wait();
        ASSERT_TRUE(one.result.how) << one.result.how.error().message();
        EXPECT_TRUE(is_content(one.got, ranges[i].first, ranges[i].second))
            << ranges[i].first << " " << ranges[i].second;
    }
}

TEST(decoding_source, every_byte_of_gzip_is_what_gunzip_says) {
    for (const std::string tool : {"gzip -n -1", "gzip -n -6", "gzip -n -9"})
        expect_content(filtered(tool, sample_tar()));
}

TEST(decoding_source, every_byte_of_several_gzip_members_is) {
    const auto tar = std::span(sample_tar());
    bytes members;
    for (std::size_t at = 0; at < tar.size(); at += 1'300'000) {
        const bytes member = filtered("gzip", tar.subspan(at, std::min<std::size_t>(1'300'000, tar.size() - at)));
        members.insert(members.end(), member.begin(), member.end());
    }
    members.resize(members.size() + 512);
    expect_content(members);
}

TEST(decoding_source, every_byte_of_what_pigz_writes_is) {
    if (!nerofs::test::has_command("pigz")) GTEST_SKIP() << "pigz isn't installed";
    expect_content(filtered("pigz -n", sample_tar()));
    expect_content(filtered("pigz -n -0", sample_tar()));
}

TEST(decoding_source, every_byte_of_zstd_is) {
    expect_content(filtered("zstd -q", sample_tar()));
    expect_content(nerofs::test::zstd_frames(sample_tar(), 400'000));
}

TEST(decoding_source, every_byte_of_a_plain_tar_is) {
    expect_content(sample_tar());
}

// Pieces of the sample, each compressed by itself, with what isn't of any between them in the blob, and zeros between
// them in the content.
struct chunked_layer {
    explicit chunked_layer(layer::compression how) {
        const std::string command = how == layer::compression::gzip ? "gzip -n -1" : "zstd -q -1";
        layer::layer_index made;
        made.how = how;
        const std::vector<std::uint64_t> lengths = {1, 700'000, 3, 511, 512, 65536, 2'000'000, 40'000, 77};
        const std::vector<std::uint64_t> gaps = {0, 0, 509, 1, 0, 0, 3'000'000, 0, 99, 150'000};
        std::uint64_t from = 0;
        for (std::size_t i = 0; i < lengths.size(); ++i) {
            content.resize(content.size() + gaps[i]);
            const auto piece = std::span(sample_tar()).subspan(from, lengths[i]);
            from += lengths[i];
            const bytes between = filtered(command, std::span(sample_tar()).subspan(0, i % 3 * 5000));
            if (i % 3 != 0) blob.insert(blob.end(), between.begin(), between.end());
            const bytes packed = filtered(command, piece);
            made.chunks.push_back(
                {content.size(), piece.size(), blob.size(), blob.size() + packed.size(), codec::sha256::of(piece)});
            blob.insert(blob.end(), packed.begin(), packed.end());
            content.insert(content.end(), piece.begin(), piece.end());
        }
        content.resize(content.size() + gaps.back());
        made.content_bytes = content.size();
        made.stored_bytes = blob.size();
        index = std::make_shared<const layer::layer_index>(std::move(made));
    }
    bool is_content(const bytes& got, std::uint64_t offset) const {
        return std::equal(got.begin(), got.end(), content.begin() + static_cast<std::ptrdiff_t>(offset));
    }

    bytes blob;
    bytes content;
    std::shared_ptr<const layer::layer_index> index;
};

TEST(decoding_source, every_byte_by_a_table_of_contents_is) {
    for (const auto how : {layer::compression::gzip, layer::compression::zstd}) {
        const chunked_layer sample(how);
        ASSERT_TRUE(sample.index->encode()) << sample.index->encode().error().message();
        layer_under_test layer(sample.blob, sample.index, {.piece_bytes = 100'000});
        const std::uint64_t size = sample.content.size();
        EXPECT_TRUE(layer.read(0, size).got == sample.content);
        std::vector<std::pair<std::uint64_t, std::uint64_t>> ranges = {{size - 1, 1}, {0, 1}, {size, 0}, {5, 0}};
        for (const layer::toc_chunk& c : sample.index->chunks) {
            ranges.push_back({c.content_offset, c.length});
            ranges.push_back({c.content_offset, 1});
            ranges.push_back({c.content_offset + c.length, 1});
            if (c.content_offset != 0) ranges.push_back({c.content_offset - 1, 2});
        }
        std::minstd_rand random(7);
        for (int i = 0; i < 30; ++i) {
            const std::uint64_t offset = random() % size;
            ranges.push_back({offset, random() % std::min<std::uint64_t>(size - offset, 3'000'000)});
        }
        for (const auto& [offset, length] : ranges) {
            const outcome one = layer.read(offset, length);
            ASSERT_TRUE(one.result.how) << one.result.how.error().message();
            EXPECT_EQ(one.got.size(), length);
            EXPECT_TRUE(sample.is_content(one.got, offset)) << offset << " " << length;
        }
    }
}

TEST(decoding_source, asks_for_a_chunk_alone_and_for_nothing_where_there_are_only_zeros) {
    const chunked_layer sample(layer::compression::gzip);
    layer_under_test layer(sample.blob, sample.index);
    const layer::toc_chunk& last = sample.index->chunks.back();
    ASSERT_TRUE(layer.read(last.content_offset + last.length, 100'000).result.how);
    const layer::toc_chunk& large = sample.index->chunks[6];
    ASSERT_TRUE(layer.read(large.content_offset - 2'000'000, 1'500'000).result.how);
    EXPECT_TRUE(layer.below.asked().empty());
    ASSERT_TRUE(layer.read(large.content_offset, 5).result.how);
    EXPECT_EQ(layer.below.asked(),
              (std::vector{std::pair{large.stored_offset, large.stored_end - large.stored_offset}}));
}

// Plain layers, too: their bytes pass through as they are, but checked.
TEST(decoding_source, a_wrong_byte_is_told_and_passes_if_the_next_answer_is_right) {
    const chunked_layer gzip(layer::compression::gzip);
    const chunked_layer zstd(layer::compression::zstd);
    struct sample {
        const bytes& blob;
        const bytes& content;
        std::shared_ptr<const layer::layer_index> index;
    };
    for (const sample& s : {sample{gzip.blob, gzip.content, gzip.index}, sample{zstd.blob, zstd.content, zstd.index},
                            sample{sample_tar(), sample_tar(), index_of_blob(sample_tar())}}) {
        layer_under_test layer(s.blob, s.index);
        const std::uint64_t wrong = s.index->place_before(s.index->unit(3).begin).stored_begin + 20;
        std::atomic<int> times = 1;
        layer.below.change = [&](std::uint64_t at, bytes& some) {
            if (at <= wrong && wrong < at + some.size() && times-- > 0) some[wrong - at] ^= std::byte{0x10};
        };
        const outcome once = layer.read(0, s.content.size());
        ASSERT_TRUE(once.result.how) << once.result.how.error().message();
        EXPECT_TRUE(once.got == s.content);
        times = 2;
        const outcome twice = layer.read(0, s.content.size());
        ASSERT_FALSE(twice.result.how);
        EXPECT_EQ(twice.result.how.error().kind, error_kind::corrupt);
        EXPECT_NE(twice.result.how.error().message().find(": unit 3: "), std::string::npos);
        EXPECT_TRUE(std::equal(twice.got.begin(), twice.got.end(), s.content.begin()));
    }
}

// A frame that is longer than its place says doesn't take the next one's bytes.
TEST(decoding_source, a_chunk_that_ends_elsewhere_than_it_should_is_no_harm) {
    const chunked_layer sample(layer::compression::zstd);
    auto index = std::make_shared<layer::layer_index>(*sample.index);
    index->chunks[1].stored_end = index->chunks[1].stored_offset + 1000;
    layer_under_test layer(sample.blob, index);
    const layer::toc_chunk& cut = index->chunks[1];
    EXPECT_FALSE(layer.read(cut.content_offset, cut.length).result.how);
    const outcome all = layer.read(0, sample.content.size());
    EXPECT_TRUE(std::equal(all.got.begin(), all.got.end(), sample.content.begin()));
    const outcome behind = layer.read(index->chunks[2].content_offset, 1'000'000);
    ASSERT_TRUE(behind.result.how) << behind.result.how.error().message();
    EXPECT_TRUE(sample.is_content(behind.got, index->chunks[2].content_offset));
}

TEST(decoding_source, every_byte_by_the_checkpoints_of_a_zinfo_file_is) {
    codec::zinfo_writer writer(unit);
    codec::gzip_indexer pass(
        {.max_decoded_bytes = 1U << 30, .span_bytes = unit, .at_every_member = true},
        {.decoded = {}, .checkpoint = [&](const codec::gzip_checkpoint& c) { return writer.append(c); }});
    ASSERT_TRUE(pass.push(gzip_blob()) && pass.finish());
    const auto file = std::move(writer).finish().value();
    auto index =
        index_of(codec::zinfo::parse(file, gzip_blob().size()).value(), {}, gzip_blob().size(), sample_tar().size());
    ASSERT_TRUE(index) << index.error().message();
    memory_source below(gzip_blob());
    decoding_source content(std::make_shared<layer::layer_index>(std::move(*index)), below);
    EXPECT_TRUE(reading(content, 0, sample_tar().size()).wait().got == sample_tar());
    EXPECT_TRUE(is_content(reading(content, 3'456'789, 2'345'678).wait().got, 3'456'789, 2'345'678));
}

TEST(decoding_source, takes_what_a_unit_needs_and_little_more) {
    layer_under_test layer(gzip_blob());
    const auto& points = layer.index->checkpoints;
    ASSERT_GT(points.size(), 5U);
    const auto from = layer.index->checkpoint_before(4 * unit);
    const auto to = layer.index->checkpoint_before(5 * unit);
    ASSERT_LT(from, to);
    ASSERT_TRUE(is_content(layer.read(4 * unit + 5, 10).got, 4 * unit + 5, 10));
    const auto asked = layer.below.asked();
    ASSERT_EQ(asked.size(), 1U);
    EXPECT_EQ(asked[0].first, points[from].first_byte());
    // What stands between the checkpoint and the end of the unit is stored in no more bytes than it has.
    const std::uint64_t end = asked[0].first + asked[0].second;
    EXPECT_GT(end, points[to].stored_offset);
    EXPECT_LT(end, points[to].stored_offset + (5 * unit - points[to].content_offset) + 8192);
}

// A strange compressor may need more bytes than it was given: one whose blocks are empty, each of five bytes.
TEST(decoding_source, asks_for_more_where_the_end_of_a_unit_lies_behind_what_is_likely) {
    const auto tar = std::span(sample_tar());
    bytes blob = filtered("gzip -n -6", tar.first(unit - 1000));
    const bytes empty = filtered("gzip -n", {});
    for (int i = 0; i < 3000; ++i) blob.insert(blob.end(), empty.begin(), empty.end());
    const bytes rest = filtered("gzip -n -6", tar.subspan(unit - 1000));
    blob.insert(blob.end(), rest.begin(), rest.end());
    layer_under_test layer(blob);
    const auto first = layer.read(0, unit);
    ASSERT_TRUE(first.result.how) << first.result.how.error().message();
    EXPECT_TRUE(is_content(first.got, 0, unit));
    EXPECT_EQ(layer.below.asked().size(), 2U);
    EXPECT_TRUE(layer.read(0, sample_tar().size()).got == sample_tar());
}

TEST(decoding_source, says_what_is_decoded_together) {
    using range = layer::content_range;
    const auto gzip = index_of_blob(gzip_blob());
    EXPECT_EQ(decoded_together(*gzip, {5, 6}), (range{0, unit}));
    EXPECT_EQ(decoded_together(*gzip, {unit - 1, unit + 1}), (range{0, 2 * unit}));
    EXPECT_EQ(decoded_together(*gzip, {unit, 2 * unit}), (range{unit, 2 * unit}));
    const std::uint64_t size = sample_tar().size();
    EXPECT_EQ(decoded_together(*gzip, {size - 1, size}), (range{size / unit * unit, size}));
    EXPECT_EQ(decoded_together(*index_of_blob(filtered("zstd -q", sample_tar())), {5, 6}), (range{0, size}));
    EXPECT_EQ(decoded_together(*index_of_blob(sample_tar()), {unit + 5, unit + 6}), (range{unit, 2 * unit}));
    layer::layer_index sparse;
    sparse.how = layer::compression::gzip;
    sparse.content_bytes = 40 * unit - 7;
    sparse.checkpoints.resize(10);
    EXPECT_EQ(decoded_together(sparse, {5 * unit, 5 * unit + 1}), (range{4 * unit, 8 * unit}));
    EXPECT_EQ(decoded_together(sparse, {39 * unit, 39 * unit + 1}), (range{36 * unit, 40 * unit - 7}));

    layer::layer_index chunks;
    chunks.how = layer::compression::zstd;
    chunks.content_bytes = 10'000;
    chunks.chunks = {{.content_offset = 1000, .length = 500}, {.content_offset = 2048, .length = 5000}};
    EXPECT_EQ(decoded_together(chunks, {0, 10}), (range{0, 10}));
    EXPECT_EQ(decoded_together(chunks, {0, 1001}), (range{0, 1500}));
    EXPECT_EQ(decoded_together(chunks, {1499, 2048}), (range{1000, 2048}));
    EXPECT_EQ(decoded_together(chunks, {1499, 2049}), (range{1000, 7048}));
    EXPECT_EQ(decoded_together(chunks, {3000, 4000}), (range{2048, 7048}));
    EXPECT_EQ(decoded_together(chunks, {7047, 10'000}), (range{2048, 10'000}));
    EXPECT_EQ(decoded_together(chunks, {7048, 10'000}), (range{7048, 10'000}));
}

TEST(decoding_source, hands_on_each_unit_as_soon_as_it_is_there) {
    layer_under_test layer(gzip_blob());
    layer.below.closed_at = layer.index->checkpoints[3].stored_offset;
    std::promise<void> second;
    reading all(*layer.content, 0, sample_tar().size(), http::time_point::max(), [&](std::uint64_t at) -> status {
        if (at == unit) second.set_value();
        return {};
    });
    second.get_future().wait();  // while the rest isn't brought
    layer.below.open();
    EXPECT_TRUE(all.wait().got == sample_tar());
}

TEST(decoding_source, asks_again_for_a_unit_that_was_wrong_once) {
    for (const bool zstd : {false, true}) {
        layer_under_test layer(zstd ? nerofs::test::zstd_frames(sample_tar(), 400'000) : gzip_blob());
        const std::uint64_t flipped = layer.index->checkpoints[3].stored_offset + 5'000;
        std::atomic<int> times{0};
        layer.below.change = [&](std::uint64_t at, bytes& some) {
            if (flipped >= at && flipped < at + some.size() && times++ == 0) some[flipped - at] ^= std::byte{0x10};
        };
        const auto all = layer.read(0, sample_tar().size());
        ASSERT_TRUE(all.result.how) << all.result.how.error().message();
        EXPECT_TRUE(all.got == sample_tar());
        EXPECT_EQ(times, 2);
        EXPECT_EQ(layer.below.asked().size(), 2U);
        EXPECT_EQ(all.result.requests, 2U);
    }
}

TEST(decoding_source, fails_for_a_unit_that_is_wrong_twice_and_names_it) {
    layer_under_test layer(gzip_blob());
    const std::uint64_t flipped = layer.index->checkpoints[3].stored_offset + 5'000;
    layer.below.change = [&](std::uint64_t at, bytes& some) {
        if (flipped >= at && flipped < at + some.size()) some[flipped - at] ^= std::byte{0x10};
    };
    const auto all = layer.read(0, sample_tar().size());
    ASSERT_FALSE(all.result.how);
    EXPECT_EQ(all.result.how.error().kind, error_kind::corrupt);
    EXPECT_TRUE(is_content(all.got, 0, all.got.size()));
    EXPECT_EQ(all.got.size() % unit, 0U);
    const std::string expected = "layer sha256:" + codec::to_hex(codec::sha256::of(gzip_blob())).substr(0, 12) +
                                 "..: unit " + std::to_string(all.got.size() / unit) + ": ";
    EXPECT_EQ(all.result.how.error().text.substr(0, expected.size()), expected);
    EXPECT_EQ(layer.below.asked().size(), 2U);
    EXPECT_TRUE(layer.read(0, unit).result.how);
}

TEST(decoding_source, never_gives_what_a_wrong_source_brings) {
    // A blob that decodes well, and to something else.
    bytes other = sample_tar();
    other[2 * unit + 77] ^= std::byte{1};
    memory_source below(filtered("gzip -n -6", other));
    const auto index = index_of_blob(gzip_blob());
    decoding_source content(index, below);
    const auto all = reading(content, 0, sample_tar().size()).wait();
    ASSERT_FALSE(all.result.how);
    EXPECT_EQ(all.result.how.error().kind, error_kind::corrupt);
    EXPECT_TRUE(is_content(all.got, 0, all.got.size()));
}

TEST(decoding_source, a_short_source_or_a_failing_one_is_its_error) {
    {
        layer_under_test layer(gzip_blob());
        layer.below.short_by = 100;
        const auto all = layer.read(0, sample_tar().size());
        ASSERT_FALSE(all.result.how);
        EXPECT_EQ(all.result.how.error().kind, error_kind::retryable);
        EXPECT_TRUE(is_content(all.got, 0, all.got.size()));
    }
    layer_under_test layer(gzip_blob());
    const std::uint64_t fails = layer.index->checkpoints[4].stored_offset;
    layer.below.fails_at = [&](std::uint64_t at) -> status {
        return at < fails ? status{} : fail(error_kind::not_found, "it is gone");
    };
    const auto all = layer.read(0, sample_tar().size());
    ASSERT_FALSE(all.result.how);
    EXPECT_EQ(all.result.how.error().text, "it is gone");
    EXPECT_EQ(all.result.how.error().kind, error_kind::not_found);
    EXPECT_GE(all.got.size(), 2 * unit);
    EXPECT_TRUE(is_content(all.got, 0, all.got.size()));
}

TEST(decoding_source, the_sinks_error_ends_a_read_whatever_its_kind) {
    layer_under_test layer(gzip_blob());
    reading one(*layer.content, 0, sample_tar().size(), http::time_point::max(), [](std::uint64_t at) -> status {
        return at == 0 ? status{} : fail(error_kind::corrupt, "I can't take it");
    });
    const auto out = one.wait();
    ASSERT_FALSE(out.result.how);
    EXPECT_EQ(out.result.how.error().text, "I can't take it");
    EXPECT_EQ(out.got.size(), unit);
    EXPECT_EQ(layer.below.asked().size(), 1U);
}

TEST(decoding_source, a_read_can_be_cancelled_and_so_is_the_one_below) {
    layer_under_test layer(gzip_blob());
    layer.below.closed_at = 0;
    reading one(*layer.content, 0, sample_tar().size());
    layer.below.wait_until_asked(1);
    layer.content->cancel(one.number);
    const auto out = one.wait();
    ASSERT_FALSE(out.result.how);
    EXPECT_EQ(out.result.how.error().kind, error_kind::cancelled);
    EXPECT_EQ(layer.below.cancelled(), 1U);
    layer.content->cancel(one.number);
    layer.content->cancel(12345);
    layer.below.open();
    EXPECT_TRUE(layer.read(0, 100).result.how);
}

TEST(decoding_source, its_end_cancels_all_reads) {
    layer_under_test layer(gzip_blob());
    layer.below.closed_at = layer.index->checkpoints[2].stored_offset;
    std::deque<reading> some;
    for (int i = 0; i < 10; ++i) some.emplace_back(*layer.content, i * unit / 2, 3 * unit);
    layer.content.reset();
    for (reading& one : some) {
        const auto out = one.wait();
        EXPECT_TRUE(out.result.how || out.result.how.error().kind == error_kind::cancelled);
    }
}

TEST(decoding_source, the_deadline_is_passed_on_and_what_the_source_says_of_it_is_told) {
    layer_under_test layer(gzip_blob());
    layer.below.closed_at = 1000;
    const auto deadline = std::chrono::steady_clock::now() + 50ms;
    const auto out = reading(*layer.content, 0, unit, deadline).wait();
    ASSERT_FALSE(out.result.how);
    EXPECT_EQ(out.result.how.error().kind, error_kind::timeout);
    EXPECT_TRUE(out.result.how.error().text == "the server is slow" ||
                out.result.how.error().text.ends_with("the deadline has passed"));
    EXPECT_EQ(layer.below.last_deadline(), deadline);
}

TEST(decoding_source, a_read_that_waits_for_room_ends_by_its_deadline) {
    layer_under_test layer(gzip_blob(), {.most_stored_bytes = 1});
    layer.below.closed_at = 0;
    reading first(*layer.content, 0, unit);
    layer.below.wait_until_asked(1);
    const auto out = reading(*layer.content, unit, unit, std::chrono::steady_clock::now() + 50ms).wait();
    ASSERT_FALSE(out.result.how);
    EXPECT_EQ(out.result.how.error().kind, error_kind::timeout);
    EXPECT_EQ(layer.below.asked().size(), 1U);
    layer.below.open();
    EXPECT_TRUE(first.wait().result.how);
}

TEST(decoding_source, a_long_read_is_fetched_in_pieces_within_the_cap) {
    layer_under_test layer(gzip_blob(), {.most_stored_bytes = 400'000, .piece_bytes = 100'000});
    std::deque<reading> some;
    for (int i = 0; i < 6; ++i) some.emplace_back(*layer.content, i * unit, sample_tar().size() - i * unit);
    for (int i = 0; i < 6; ++i) EXPECT_TRUE(is_content(some[i].wait().got, i * unit, sample_tar().size() - i * unit));
    EXPECT_LE(layer.below.most_in_flight(), 400'000U);
    for (const auto& [offset, length] : layer.below.asked()) EXPECT_LE(length, 100'000U);
}

TEST(decoding_source, reads_that_can_not_be_are_refused) {
    layer_under_test layer(gzip_blob());
    const std::uint64_t size = sample_tar().size();
    for (const auto& [offset, length] :
         {std::pair{size, std::uint64_t{1}}, {size + 1, std::uint64_t{0}}, {std::uint64_t{1}, ~std::uint64_t{0}}})
        EXPECT_EQ(layer.read(offset, length).result.how.error().kind, error_kind::usage);
    auto index = std::make_shared<layer::layer_index>(*layer.index);
    index->checkpoints.clear();
    decoding_source without(index, layer.below);
    EXPECT_EQ(reading(without, 0, 1).wait().result.how.error().kind, error_kind::usage);
    EXPECT_TRUE(layer.below.asked().empty());
}

TEST(decoding_source, many_threads_read_and_cancel_at_once) {
    layer_under_test layer(gzip_blob(), {.most_stored_bytes = 3'000'000});
    std::vector<std::thread> threads;
    for (unsigned t = 0; t < 4; ++t) {
        threads.emplace_back([&, t] {
            std::minstd_rand random(t + 1);
            for (int i = 0; i < 12; ++i) {
                const std::uint64_t offset = random() % sample_tar().size();
                const std::uint64_t length = random() % std::min<std::uint64_t>(sample_tar().size() - offset, 2 * unit);
                reading one(*layer.content, offset, length, http::time_point::max(), {},
                            i % 2 == 0 ? http::priority::demand : http::priority::background);
                const bool cancels = random() % 4 == 0;
                if (cancels) layer.content->cancel(one.number);
                const auto out = one.wait();
                EXPECT_TRUE(out.result.how || (cancels && out.result.how.error().kind == error_kind::cancelled));
                EXPECT_TRUE(is_content(out.got, offset, out.got.size()));
                EXPECT_EQ(out.result.how.has_value() ? length : out.got.size(), out.got.size());
            }
        });
    }
    for (auto& thread : threads) thread.join();
}

}  // namespace
}  // namespace nerofs::fetch
