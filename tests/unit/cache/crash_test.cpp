// The rule that nothing is believed after a crash that wasn't durable, held against every crash: the writes and syncs
// of real fills and checkpoints are recorded in order; then for each prefix of them, what had been synced is kept and
// of everything later any 512-byte sectors, in any version, or none.
#include <fcntl.h>
#include <sys/stat.h>

#include <map>
#include <random>

#include "cache/durable_map.h"
#include "support.h"

namespace nerofs::cache {
namespace {

constexpr std::uint64_t sector_bytes = 512;
constexpr std::uint64_t chunks = 9000;  // bits over three sectors
constexpr std::uint64_t blob_bytes = chunks * chunk_bytes - 100;

enum class target : std::uint8_t { data, map };

struct step {
    target file = target::data;
    bool is_sync = false;
    std::uint64_t offset = 0;
    std::vector<std::byte> bytes;
};

struct killed {};

// Does the real thing and writes down what it did. Dies (throws) before the operation `die_at`. A `lying` disk says
// that data is synced when it isn't.
class recorder final : public file_io {
  public:
    recorder(fd_ref map, std::vector<step>& into) : steps(into), map_(map) {}

    ssize_t write_at(fd_ref file, std::span<const std::byte> bytes, std::uint64_t offset) override {
        die_here();
        // In pieces, as a slow file system would.
        bytes = bytes.first(std::min<std::size_t>(bytes.size(), 3 * chunk_bytes / 2));
        steps.push_back({which(file), false, offset, {bytes.begin(), bytes.end()}});
        return file_io::system().write_at(file, bytes, offset);
    }
    int sync(fd_ref file) override {
        die_here();
        if (!lying || which(file) == target::map) steps.push_back({which(file), true, 0, {}});
        if (after_data_sync && which(file) == target::data) after_data_sync();
        return 0;
    }

    std::vector<step>& steps;
    std::size_t die_at = ~std::size_t{0};
    bool lying = false;
    std::function<void()> after_data_sync;  // what others do meanwhile

  private:
    void die_here() {
        if (operations_++ == die_at) throw killed();
    }
    // Descriptors of one file have the same number on the device.
    target which(fd_ref file) const {
        return must(identity(file)) == must(identity(map_)) ? target::map : target::data;
    }
    static result<ino_t> identity(fd_ref file);

    fd_ref map_;
    std::size_t operations_ = 0;
};

result<ino_t> recorder::identity(fd_ref file) {
    struct stat found {};
    if (::fstat(file.get(), &found) != 0) return fail_errno("fstat");
    return found.st_ino;
}

// A disk: what is on it for sure, and the versions of sectors that may have reached it.
class disk {
  public:
    using sector = std::vector<std::byte>;

    void write(std::uint64_t offset, std::span<const std::byte> bytes) {
        while (!bytes.empty()) {
            const std::uint64_t number = offset / sector_bytes;
            const std::uint64_t at = offset % sector_bytes;
            const std::uint64_t n = std::min<std::uint64_t>(bytes.size(), sector_bytes - at);
            sector next = newest(number);
            std::copy_n(bytes.begin(), n, next.begin() + static_cast<std::ptrdiff_t>(at));
            maybe_[number].push_back(std::move(next));
            offset += n;
            bytes = bytes.subspan(n);
        }
    }
    void sync() {
        for (auto& [number, versions] : maybe_) sure_[number] = std::move(versions.back());
        maybe_.clear();
    }
    // What a crash leaves: each sector is what it surely is or one of its later versions. `lost`: the share of later
    // ones that never got there.
    struct leftover {
        const std::map<std::uint64_t, sector>* sure;
        std::map<std::uint64_t, sector> later;

        bool untouched(std::uint64_t offset, std::uint64_t length) const {
            const auto at = later.lower_bound(offset / sector_bytes);
            return at == later.end() || at->first * sector_bytes >= offset + length;
        }
        std::vector<std::byte> read(std::uint64_t offset, std::uint64_t length) const {
            std::vector<std::byte> bytes(round_up(length, sector_bytes));
            for (const auto* layer : {sure, &later})
                for (auto at = layer->lower_bound(offset / sector_bytes);
                     at != layer->end() && at->first * sector_bytes < offset + length; ++at)
                    std::copy(at->second.begin(), at->second.end(),
                              bytes.begin() + static_cast<std::ptrdiff_t>(at->first * sector_bytes - offset));
            bytes.resize(length);
            return bytes;
        }
        void write_to(fd_ref file, std::uint64_t size) const {
            for (const auto* layer : {sure, &later})
                for (const auto& [number, bytes] : *layer)
                    must(write_fully(
                        file_io::system(), file,
                        std::span(bytes).first(std::min<std::uint64_t>(sector_bytes, size - number * sector_bytes)),
                        number * sector_bytes));
        }
    };
    leftover crash(std::mt19937& random, double lost) const {
        leftover after{&sure_, {}};
        for (const auto& [number, versions] : maybe_) {
            if (std::uniform_real_distribution<double>()(random) < lost) continue;
            after.later[number] = versions[std::uniform_int_distribution<std::size_t>(0, versions.size() - 1)(random)];
        }
        return after;
    }

  private:
    sector newest(std::uint64_t number) const {
        if (const auto found = maybe_.find(number); found != maybe_.end()) return found->second.back();
        if (const auto found = sure_.find(number); found != sure_.end()) return found->second;
        return sector(sector_bytes);
    }
    std::map<std::uint64_t, sector> sure_;
    std::map<std::uint64_t, std::vector<sector>> maybe_;
};

// One run: fills and checkpoints with deaths in between, recorded.
struct recorded_run {
    explicit recorded_run(bool lying) {
        auto s = must(store::open(options_in(scratch.path())));
        blob = must(s.open_blob(any_key('e', blob_bytes)));
        recorder io(blob.durable(), steps);
        io.lying = lying;
        const auto map_bytes = durable_slots * durable_slot_bytes(blob_bytes);
        first_map = file_bytes(blob.durable(), 0, map_bytes);
        std::mt19937 random(7);
        for (unsigned round = 0; round < 16; ++round) {
            const blob_writer writer = writer_of(blob, io);
            const auto fill_some = [&](std::uint64_t most) {
                const std::uint64_t first = std::uniform_int_distribution<std::uint64_t>(0, chunks - 1)(random);
                const std::uint64_t n = writer.claim({first, std::min(chunks, first + most)});
                if (n == 0) return;
                chunk_fill fill = writer.fill({first, first + n});
                must(fill.append(content(fill.next_offset(), fill.end_offset() - fill.next_offset())));
            };
            for (std::uint64_t i = 1; i <= 3; ++i) fill_some(i);
            // Every few rounds the writer dies at another place of its checkpoint.
            recorder dying(blob.durable(), steps);
            dying.lying = lying;
            dying.after_data_sync = [&] { fill_some(1); };
            const unsigned death = round % 6;
            if (death < 5) dying.die_at = death;
            const std::vector<std::uint64_t> before = writer.map().snapshot();
            const blob_writer other = writer_of(blob, dying);
            bool done = false;
            try {
                done = must(other.checkpoint()) == checkpoint_outcome::written;
            } catch (const killed&) {
            }
            if (done) promised.emplace_back(steps.size(), before);
        }
    }

    scratch_directory scratch;
    held_blob blob;
    std::vector<std::byte> first_map;
    std::vector<step> steps;
    // Chunks that a finished checkpoint made durable, and after how many steps.
    std::vector<std::pair<std::size_t, std::vector<std::uint64_t>>> promised;
};

struct outcome {
    unsigned crashes = 0;
    unsigned wrong_chunks = 0;  // believed, but other bytes
    unsigned lost_chunks = 0;   // promised, but not believed
    unsigned chunks_kept = 0;   // believed and right
};

using sampler = std::function<void(const disk::leftover& data, const disk::leftover& map)>;

outcome replay(const recorded_run& run, const sampler& sample) {
    outcome found;
    std::mt19937 random(11);
    disk data;
    disk map;
    map.write(0, run.first_map);
    map.sync();
    std::vector<bool> written(chunks);  // ever, in part at least
    std::vector<bool> surely_right(chunks);
    const auto is_right = [](const disk::leftover& after, std::uint64_t chunk) {
        const std::uint64_t offset = chunk * chunk_bytes;
        const std::uint64_t length = std::min(chunk_bytes, blob_bytes - offset);
        return after.read(offset, length) == content(offset, length);
    };
    for (std::size_t k = 0; k <= run.steps.size(); ++k) {
        for (const double lost : {1.0, 0.5, 0.15}) {
            const auto data_after = data.crash(random, lost);
            const auto map_after = map.crash(random, lost == 1.0 ? 0.5 : lost);
            ++found.crashes;
            const auto believed = choose_durable_slot(map_after.read(0, run.first_map.size()), blob_bytes);
            for (std::uint64_t chunk = 0; believed && chunk < chunks; ++chunk) {
                if (((believed->state.bits[chunk / 64] >> (chunk % 64)) & 1) == 0) continue;
                const bool untouched = data_after.untouched(chunk * chunk_bytes, chunk_bytes);
                if (untouched ? surely_right[chunk] : is_right(data_after, chunk))
                    ++found.chunks_kept;
                else
                    ++found.wrong_chunks;
            }
            for (const auto& [after, bits] : run.promised) {
                if (after > k) break;
                for (std::size_t w = 0; w < bits.size(); ++w)
                    found.lost_chunks += static_cast<unsigned>(
                        __builtin_popcountll(bits[w] & ~(believed ? believed->state.bits[w] : 0)));
            }
            if (sample && found.crashes % 47 == 0) sample(data_after, map_after);
        }
        if (k == run.steps.size()) break;
        const step& s = run.steps[k];
        disk& file = s.file == target::data ? data : map;
        if (s.is_sync) {
            file.sync();
            if (s.file != target::data) continue;
            const auto sure = data.crash(random, 1.0);
            for (std::uint64_t chunk = 0; chunk < chunks; ++chunk)
                if (written[chunk] && !surely_right[chunk]) surely_right[chunk] = is_right(sure, chunk);
        } else {
            file.write(s.offset, s.bytes);
            if (s.file != target::data) continue;
            const chunk_range range = chunks_of(s.offset, s.bytes.size());
            for (std::uint64_t chunk = range.first; chunk < range.end; ++chunk) written[chunk] = true;
        }
    }
    return found;
}

TEST(crash, nothing_is_believed_that_was_not_durable_and_nothing_durable_is_lost) {
    const recorded_run run(false);
    ASSERT_GT(run.promised.size(), 3u);
    unsigned reopened = 0;
    const outcome found = replay(run, [&](const auto& data_after, const auto& map_after) {
        // The same through the store: the directory as the crash left it, in the next boot.
        const scratch_directory after;
        const std::string name = "/cache/blobs/" + run.blob.key().name() + "/";
        std::filesystem::create_directories(after.path() + name);
        for (const auto& file : std::filesystem::directory_iterator(run.scratch.path() + name)) {
            const std::string base = file.path().filename().string();
            const auto size = file.file_size();
            const unique_fd fd(
                ::open((after.path() + name + base).c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
            ASSERT_EQ(::ftruncate(fd.get(), static_cast<off_t>(size)), 0);
            if (base == "lock") continue;
            (base == "map" ? map_after : data_after).write_to(fd, size);
        }
        auto s = must(store::open(options_in(after.path(), second_boot)));
        const held_blob again = must(s.open_blob(run.blob.key()));
        const blob_reader reader = reader_of(again);
        EXPECT_TRUE(claims_are_true(reader.map(), reader.data()));
        ++reopened;
    });
    EXPECT_EQ(found.wrong_chunks, 0u);
    EXPECT_EQ(found.lost_chunks, 0u);
    EXPECT_GT(found.chunks_kept, 1000u);
    EXPECT_GT(reopened, 5u);
}

// The test can fail: with a disk that only says that it synced, chunks are believed that aren't there.
TEST(crash, a_lying_disk_is_found_out) {
    const recorded_run run(true);
    EXPECT_GT(replay(run, nullptr).wrong_chunks, 0u);
}

}  // namespace
}  // namespace nerofs::cache
