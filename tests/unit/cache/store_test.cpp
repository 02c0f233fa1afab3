#include "cache/store.h"

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include <fstream>
#include <thread>

#include "cache/private_store.h"
#include "support.h"

namespace nerofs::cache {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;

constexpr std::uint64_t blob_bytes = 70 * chunk_bytes + 1;

struct store_test : ::testing::Test {
    scratch_directory scratch;

    store opened(const char* boot = first_boot, std::uint64_t budget = 0) const {
        return must(store::open(options_in(scratch.path(), boot, budget)));
    }
    std::string blob_path(const blob_key& key) const { return scratch.path() + "/cache/blobs/" + key.name(); }
    std::string data_path(const blob_key& key) const {
        for (const auto& entry : fs::directory_iterator(blob_path(key)))
            if (entry.path().filename().string().starts_with("data.")) return entry.path();
        return {};
    }
    std::size_t files_below(const std::string& name) const {
        std::size_t count = 0;
        for (const auto& entry : fs::recursive_directory_iterator(scratch.path() + "/" + name))
            count += entry.is_directory() ? 0 : 1;
        return count;
    }
    // A blob of that many chunks, all there, not used by anybody any more.
    blob_key filled(store& s, char digit, std::uint64_t chunks) const {
        const blob_key key = any_key(digit, chunks * chunk_bytes);
        const held_blob blob = must(s.open_blob(key));
        fetch(writer_of(blob), {0, chunks});
        std::this_thread::sleep_for(25ms);  // their order of use is told by file times
        return key;
    }
    static std::vector<std::string> names_of(const std::vector<blob_info>& list) {
        std::vector<std::string> names;
        for (const auto& info : list) names.push_back(info.key.name());
        std::sort(names.begin(), names.end());
        return names;
    }
};

TEST_F(store_test, all_who_open_a_blob_share_it) {
    auto one = opened();
    auto two = opened();
    const held_blob first = must(one.open_blob(key_of(blob_bytes)));
    const held_blob second = must(two.open_blob(key_of(blob_bytes)));
    const blob_reader reader = reader_of(second);
    EXPECT_EQ(reader.lookup(0, 1), presence::missing);
    fetch(writer_of(first), {0, 3});
    EXPECT_EQ(reader.lookup(0, 3 * chunk_bytes), presence::there);
    EXPECT_TRUE(claims_are_true(reader.map(), reader.data()));
}

TEST_F(store_test, nothing_is_open_to_others) {
    auto s = opened();
    const held_blob blob = must(s.open_blob(key_of(blob_bytes)));
    for (const auto& entry : fs::recursive_directory_iterator(scratch.path())) {
        const auto mode = fs::status(entry.path()).permissions();
        EXPECT_EQ(mode & (fs::perms::group_all | fs::perms::others_all), fs::perms::none) << entry.path();
    }
    // The pin that every process of a mount keeps gives no power.
    EXPECT_EQ(::fcntl(blob.pin().get(), F_GETFL) & O_ACCMODE, O_RDONLY);
    const reader_files files = must(blob.for_reader());
    EXPECT_EQ(::fcntl(files.data.get(), F_GETFL) & O_ACCMODE, O_RDONLY);
    EXPECT_EQ(::fcntl(files.map.get(), F_GETFL) & O_ACCMODE, O_RDONLY);
}

TEST_F(store_test, a_directory_that_others_may_write_to_is_refused) {
    fs::create_directory(scratch.path() + "/cache");
    fs::permissions(scratch.path() + "/cache", fs::perms::all);
    const auto refused = store::open(options_in(scratch.path()));
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().kind, error_kind::permission);
    EXPECT_EQ(refused.error().text, "'" + scratch.path() + "/cache' can be written by others");
}

TEST_F(store_test, what_was_fetched_is_there_after_everybody_went_and_came_back) {
    {
        auto s = opened();
        fetch(writer_of(must(s.open_blob(key_of(blob_bytes)))), {0, 40});
    }
    auto s = opened();
    const blob_reader reader = reader_of(must(s.open_blob(key_of(blob_bytes))));
    EXPECT_EQ(reader.map().present_chunks(), 40u);
}

TEST_F(store_test, after_a_reboot_the_checkpoint_is_believed_and_nothing_else) {
    {
        auto s = opened();
        const held_blob blob = must(s.open_blob(key_of(blob_bytes)));
        const blob_writer writer = writer_of(blob);
        fetch(writer, {0, 10});
        EXPECT_EQ(must(writer.checkpoint()), checkpoint_outcome::written);
        EXPECT_EQ(must(writer.checkpoint()), checkpoint_outcome::unchanged);
        fetch(writer, {10, 20});
    }
    auto s = opened(second_boot);
    const blob_reader reader = reader_of(must(s.open_blob(key_of(blob_bytes))));
    EXPECT_EQ(reader.map().present_chunks(), 10u);
    EXPECT_TRUE(claims_are_true(reader.map(), reader.data()));
}

TEST_F(store_test, a_verified_blob_is_not_verified_again) {
    {
        auto s = opened();
        const held_blob blob = must(s.open_blob(key_of(blob_bytes)));
        const blob_writer writer = writer_of(blob);
        fetch(writer, {0, 71});
        writer.mark_verified();
        EXPECT_EQ(must(writer.checkpoint()), checkpoint_outcome::written);
    }
    auto s = opened(second_boot);
    EXPECT_TRUE(reader_of(must(s.open_blob(key_of(blob_bytes)))).map().verified());
    EXPECT_TRUE(must(s.list())[0].verified);
}

TEST_F(store_test, a_quarantined_blob_is_moved_aside_and_begun_afresh) {
    auto s = opened();
    const held_blob bad = must(s.open_blob(key_of(blob_bytes)));
    const blob_writer writer = writer_of(bad);
    fetch(writer, {0, 5});
    must(writer.checkpoint());
    writer.quarantine();
    EXPECT_FALSE(writer.checkpoint());
    const held_blob fresh = must(s.open_blob(key_of(blob_bytes)));
    EXPECT_EQ(reader_of(fresh).map().present_chunks(), 0u);
    EXPECT_EQ(reader_of(fresh).lookup(0, 1), presence::missing);
    EXPECT_EQ(reader_of(bad).lookup(0, 1), presence::failed);
    EXPECT_EQ(files_below("cache/quarantine"), 1u);
    must(s.gc());
    EXPECT_EQ(files_below("cache/quarantine"), 0u);
}

#if NEROFS_FAULTS
TEST_F(store_test, writes_that_the_disk_lost_fail_the_readers_and_the_next_one_begins_afresh) {
    auto s = opened();
    const held_blob blob = must(s.open_blob(key_of(blob_bytes)));
    const blob_writer writer = writer_of(blob);
    fetch(writer, {0, 5});
    fault::set_plan("cache.checkpoint.data:errno:1:5");
    const auto failed = writer.checkpoint();
    fault::set_plan("");
    ASSERT_FALSE(failed);
    EXPECT_EQ(failed.error().code, EIO);
    EXPECT_EQ(reader_of(blob).lookup(0, 1), presence::failed);
    EXPECT_EQ(writer.map().state(), blob_state::lost);
    EXPECT_EQ(reader_of(must(s.open_blob(key_of(blob_bytes)))).map().present_chunks(), 0u);
    EXPECT_EQ(reader_of(must(opened(second_boot).open_blob(key_of(blob_bytes)))).map().present_chunks(), 0u);
}

TEST_F(store_test, a_checkpoint_killed_at_any_step_is_taken_up_by_the_next) {
    for (const char* plan : {"cache.checkpoint.data:kill:1", "cache.checkpoint.map:kill:1", "cache.write:kill:1",
                             "cache.checkpoint.sync:kill:1"}) {
        SCOPED_TRACE(plan);
        const scratch_directory own;
        auto s = must(store::open(options_in(own.path())));
        const held_blob blob = must(s.open_blob(key_of(blob_bytes)));
        const blob_writer writer = writer_of(blob);
        fetch(writer, {0, 30});
        EXPECT_TRUE(WIFSIGNALED(in_child([&] { (void)writer_of(blob).checkpoint(); }, plan)));
        ASSERT_TRUE(writer.checkpoint());
        auto later = must(store::open(options_in(own.path(), second_boot)));
        EXPECT_EQ(reader_of(must(later.open_blob(key_of(blob_bytes)))).map().present_chunks(), 30u);
    }
}

TEST_F(store_test, no_room_for_the_maps_is_told_apart) {
    auto s = opened();
    for (const char* plan : {"cache.allocate:errno:1:28", "cache.allocate:errno:2:28"}) {
        fault::set_plan(plan);
        const auto full = s.open_blob(key_of(blob_bytes));
        fault::set_plan("");
        ASSERT_FALSE(full);
        EXPECT_TRUE(is_out_of_space(full.error())) << full.error().text;
    }
    EXPECT_EQ(reader_of(must(s.open_blob(key_of(blob_bytes)))).map().present_chunks(), 0u);
    // Nothing half made was left: lock, map, data.
    EXPECT_EQ(files_below("cache"), 3u);
}
#endif

// Damage of every kind, between two boots: the blob is empty then, or what it claims is right.
TEST_F(store_test, a_damaged_blob_is_begun_afresh) {
    using damage = std::function<void(const std::string& map, const std::string& data)>;
    const auto patch = [](const std::string& path, std::uint64_t at, char value) {
        std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
        file.seekp(static_cast<std::streamoff>(at));
        file.put(value);
    };
    const std::uint64_t slot = durable_slot_bytes(blob_bytes);
    const std::vector<std::pair<const char*, damage>> all = {
        {"map gone", [](auto& map, auto&) { fs::remove(map); }},
        {"map empty", [](auto& map, auto&) { fs::resize_file(map, 0); }},
        {"map short", [](auto& map, auto&) { fs::resize_file(map, fs::file_size(map) - 1); }},
        {"map long", [](auto& map, auto&) { fs::resize_file(map, fs::file_size(map) + 1); }},
        {"map a link", [](auto& map, auto&) { fs::rename(map, map + "x"), fs::create_symlink(map + "x", map); }},
        {"both magics", [&](auto& map, auto&) { patch(map, 0, 'x'), patch(map, slot, 'x'); }},
        {"both versions", [&](auto& map, auto&) { patch(map, 8, 9), patch(map, slot + 8, 9); }},
        {"both bitmaps", [&](auto& map, auto&) { patch(map, 70, '\x55'), patch(map, slot + 70, '\x55'); }},
        {"data gone", [](auto&, auto& data) { fs::remove(data); }},
        {"data short", [](auto&, auto& data) { fs::resize_file(data, blob_bytes - 1); }},
        {"data long", [](auto&, auto& data) { fs::resize_file(data, blob_bytes + 1); }},
        {"data a directory", [](auto&, auto& data) { fs::remove(data), fs::create_directory(data); }},
        {"data of another instance",
         [](auto&, auto& data) { fs::rename(data, data.substr(0, data.size() - 1) + "g"); }},
    };
    for (const auto& [name, apply] : all) {
        for (const bool reboot : {true, false}) {
            SCOPED_TRACE(name);
            const scratch_directory own;
            const std::string at = own.path() + "/cache/blobs/" + key_of(blob_bytes).name();
            {
                auto s = must(store::open(options_in(own.path())));
                const blob_writer writer = writer_of(must(s.open_blob(key_of(blob_bytes))));
                fetch(writer, {0, 30});
                must(writer.checkpoint());
                fetch(writer, {30, 50});
                must(writer.checkpoint());
            }
            std::string data;
            for (const auto& entry : fs::directory_iterator(at))
                if (entry.path().filename().string().starts_with("data.")) data = entry.path();
            apply(at + "/map", data);
            auto s = must(store::open(options_in(own.path(), reboot ? second_boot : first_boot)));
            const held_blob blob = must(s.open_blob(key_of(blob_bytes)));
            const blob_writer writer = writer_of(blob);
            EXPECT_EQ(writer.map().present_chunks(), 0u);
            fetch(writer, {0, 71});
            EXPECT_TRUE(claims_are_true(writer.map(), writer.data()));
            EXPECT_EQ(must(writer.checkpoint()), checkpoint_outcome::written);
        }
    }
}

TEST_F(store_test, one_damaged_slot_costs_one_checkpoint) {
    {
        auto s = opened();
        const blob_writer writer = writer_of(must(s.open_blob(key_of(blob_bytes))));
        fetch(writer, {0, 30});
        must(writer.checkpoint());  // the second slot
        fetch(writer, {30, 50});
        must(writer.checkpoint());  // the first
    }
    std::fstream(blob_path(key_of(blob_bytes)) + "/map", std::ios::in | std::ios::out | std::ios::binary).put('x');
    auto s = opened(second_boot);
    EXPECT_EQ(reader_of(must(s.open_blob(key_of(blob_bytes)))).map().present_chunks(), 30u);
}

TEST_F(store_test, a_live_map_is_not_believed_about_another_data_file) {
    {
        auto s = opened();
        const blob_writer writer = writer_of(must(s.open_blob(key_of(blob_bytes))));
        fetch(writer, {0, 10});
        must(writer.checkpoint());
        fetch(writer, {10, 50});
    }
    // Somebody restores the directory from a copy made at the checkpoint, files of the same names.
    const std::string data = data_path(key_of(blob_bytes));
    fs::rename(data, data + ".old");
    {
        std::ofstream copy(data, std::ios::binary);
        const auto bytes = content(0, 10 * chunk_bytes);
        copy.write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
    }
    fs::resize_file(data, blob_bytes);
    auto s = opened();
    const blob_reader reader = reader_of(must(s.open_blob(key_of(blob_bytes))));
    EXPECT_EQ(reader.map().present_chunks(), 10u);
    EXPECT_TRUE(claims_are_true(reader.map(), reader.data()));
}

TEST_F(store_test, a_cache_removed_by_hand_under_a_mount_goes_on_for_it) {
    auto s = opened();
    const held_blob blob = must(s.open_blob(key_of(blob_bytes)));
    const blob_writer writer = writer_of(blob);
    fetch(writer, {0, 5});
    fs::remove_all(scratch.path() + "/cache/blobs/" + key_of(blob_bytes).name());
    fetch(writer, {5, 10});
    EXPECT_TRUE(claims_are_true(reader_of(blob).map(), reader_of(blob).data()));  // by descriptors of a nameless file
    EXPECT_EQ(reader_of(must(s.open_blob(key_of(blob_bytes)))).map().present_chunks(), 0u);
}

TEST_F(store_test, the_least_recently_used_go_first_and_pinned_ones_never) {
    auto s = opened(first_boot, 10 * chunk_bytes);
    const blob_key a = filled(s, 'a', 4);
    const blob_key b = filled(s, 'b', 4);
    const blob_key c = filled(s, 'c', 4);
    const blob_key d = filled(s, 'd', 4);
    const held_blob in_use = must(s.open_blob(a));
    must(s.open_blob(b));  // used again, not pinned: c is the oldest now
    const store_usage usage = must(s.make_room(0));
    EXPECT_EQ(usage.removed, 2u);
    EXPECT_TRUE(usage.within_budget);
    EXPECT_LE(usage.used_bytes, 10 * chunk_bytes);
    EXPECT_EQ(names_of(must(s.list())), (std::vector<std::string>{a.name(), b.name()}));
    EXPECT_EQ(reader_of(in_use).map().present_chunks(), 4u);
    (void)d;

    const store_usage tight = must(s.make_room(10 * chunk_bytes));
    EXPECT_FALSE(tight.within_budget);  // what is in use can't go
    EXPECT_EQ(names_of(must(s.list())), std::vector<std::string>{a.name()});
}

TEST_F(store_test, a_full_file_system_evicts_whatever_the_budget) {
    auto s = opened();
    filled(s, 'a', 4);
    const blob_key b = filled(s, 'b', 4);
    const store_usage usage = must(s.free_bytes(1));
    EXPECT_EQ(usage.removed, 1u);
    EXPECT_GE(usage.freed_bytes, 4 * chunk_bytes);
    EXPECT_EQ(names_of(must(s.list())), std::vector<std::string>{b.name()});
    EXPECT_EQ(files_below("run"), 1u);
}

TEST_F(store_test, a_pin_lives_as_long_as_any_process_that_has_it) {
    auto s = opened();
    const blob_key key = filled(s, 'a', 2);
    int ready[2];
    ASSERT_EQ(::pipe2(ready, O_CLOEXEC), 0);
    held_blob held = must(s.open_blob(key));
    const pid_t server = ::fork();
    if (server == 0) {
        (void)!::write(ready[1], "x", 1);
        ::pause();
        ::_exit(0);
    }
    char c = 0;
    ASSERT_EQ(::read(ready[0], &c, 1), 1);
    held = {};  // the keeper is gone; the server has the pin still
    const auto refused = s.remove(key);
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, EBUSY);
    EXPECT_TRUE(must(s.list())[0].pinned);
    EXPECT_EQ(must(s.free_bytes(1)).removed, 0u);
    ::kill(server, SIGKILL);
    ::waitpid(server, nullptr, 0);
    EXPECT_FALSE(must(s.list())[0].pinned);
    EXPECT_GE(must(s.remove(key)), 2 * chunk_bytes);
    EXPECT_EQ(s.remove(key).error().kind, error_kind::not_found);
    EXPECT_EQ(files_below("cache"), 0u);
    EXPECT_EQ(files_below("run"), 0u);
    ::close(ready[0]);
    ::close(ready[1]);
}

TEST_F(store_test, settling_makes_durable_and_leaves_no_live_map) {
    auto s = opened();
    const blob_key key = filled(s, 'a', 4);
    EXPECT_EQ(files_below("run"), 1u);
    {
        const held_blob in_use = must(s.open_blob(key));
        must(s.settle(key));
        EXPECT_EQ(files_below("run"), 1u);
    }
    must(s.settle(key));
    EXPECT_EQ(files_below("run"), 0u);
    EXPECT_EQ(must(s.list())[0].present_bytes, 4 * chunk_bytes);
    EXPECT_EQ(reader_of(must(opened(second_boot).open_blob(key))).map().present_chunks(), 4u);
}

TEST_F(store_test, gc_removes_what_crashes_left) {
    auto s = opened();
    const blob_key key = filled(s, 'a', 4);
    fs::create_directory(scratch.path() + "/cache/trash/0123");
    std::ofstream(scratch.path() + "/cache/trash/0123/data.x") << "x";
    std::string run;
    for (const auto& entry : fs::directory_iterator(scratch.path() + "/run")) run = entry.path();
    std::ofstream(run + "/" + any_key('f', 5).name() + ".00") << "x";
    std::ofstream(run + "/other") << "not ours";
    must(s.gc());
    EXPECT_EQ(files_below("cache/trash"), 0u);
    EXPECT_EQ(files_below("run"), 1u);
    EXPECT_EQ(reader_of(must(s.open_blob(key))).map().present_chunks(), 4u);
}

TEST_F(store_test, openers_and_evictors_at_the_same_time) {
    const blob_key key = any_key('a', 3 * chunk_bytes);
    std::vector<std::jthread> all;
    std::atomic<unsigned> opened_count = 0;
    std::atomic<bool> stop = false;
    for (unsigned t = 0; t < 3; ++t)
        all.emplace_back([&] {
            auto s = opened();
            for (unsigned i = 0; i < 60; ++i) {
                const held_blob blob = must(s.open_blob(key));
                const blob_writer writer = writer_of(blob);
                for (std::uint64_t at = 0; at < 3; ++at) {
                    const std::uint64_t n = writer.claim({at, at + 1});
                    if (n == 0) continue;
                    chunk_fill fill = writer.fill({at, at + 1});
                    must(fill.append(content(fill.next_offset(), chunk_bytes)));
                }
                EXPECT_TRUE(claims_are_true(writer.map(), writer.data()));
                ++opened_count;
            }
        });
    std::jthread evictor([&] {
        auto s = opened();
        while (!stop) {
            (void)s.free_bytes(1);
            (void)s.settle(key);
            (void)s.gc();
        }
    });
    all.clear();
    stop = true;
    evictor.join();
    EXPECT_EQ(opened_count, 180u);
}

TEST_F(store_test, two_cache_directories_with_one_run_directory_do_not_meet) {
    auto options = options_in(scratch.path());
    auto one = must(store::open(options));
    options.directory += "2";
    auto two = must(store::open(options));
    const held_blob in_one = must(one.open_blob(any_key('a', 5 * chunk_bytes)));
    fetch(writer_of(in_one), {0, 3});
    EXPECT_EQ(reader_of(must(two.open_blob(any_key('a', 5 * chunk_bytes)))).map().present_chunks(), 0u);
    must(two.gc());
    EXPECT_EQ(reader_of(must(one.open_blob(any_key('a', 5 * chunk_bytes)))).map().present_chunks(), 3u);
}

TEST(blob_key, names_and_digests) {
    const std::string digits(64, 'a');
    const blob_key key = *blob_key::from_digest("sha256:" + digits, 5);
    EXPECT_EQ(key.name(), "sha256-" + digits + "-5");
    EXPECT_EQ(key.digest(), "sha256:" + digits);
    EXPECT_EQ(*blob_key::from_name(key.name()), key);
    for (const std::string& bad : {"sha512:" + digits, "sha256:" + digits + "0", "sha256:../" + digits.substr(3),
                                   "sha256:" + std::string(64, 'A'), std::string("sha256:"), std::string()})
        EXPECT_FALSE(blob_key::from_digest(bad, 5)) << bad;
    EXPECT_FALSE(blob_key::from_digest("sha256:" + digits, 0));
    EXPECT_FALSE(blob_key::from_digest("sha256:" + digits, max_blob_bytes + 1));
    for (const std::string& bad :
         {"sha256-" + digits, "sha256-" + digits + "-", "sha256-" + digits + "-05", "sha256-" + digits + "-5x",
          "sha256-" + digits + "-99999999999999999999", "sha1-" + digits + "-5", std::string("lock"), std::string()})
        EXPECT_FALSE(blob_key::from_name(bad)) << bad;
}

TEST(blob_key, versions_of_a_url_never_meet) {
    const blob_key key = *blob_key::from_url("https://h/a", "\"1\"", 9);
    EXPECT_EQ(key.digest(), "");
    EXPECT_EQ(key.name().find("https"), std::string::npos);
    EXPECT_EQ(*blob_key::from_name(key.name()), key);
    EXPECT_NE(*blob_key::from_url("https://h/a", "\"2\"", 9), key);
    EXPECT_NE(*blob_key::from_url("https://h/b", "\"1\"", 9), key);
    EXPECT_NE(*blob_key::from_url("https://h/a", "\"1\"", 8), key);
    EXPECT_NE(blob_key::from_url("https://h/a\"", "1\"", 9)->name(), key.name());
    EXPECT_FALSE(blob_key::from_url("https://h/a", "", 9));
    EXPECT_FALSE(blob_key::from_url("https://h/a", "W/\"1\"", 9));
}

// A real full disk, where that can be had: a small tmpfs.
TEST_F(store_test, a_full_file_system_costs_no_byte_that_is_there) {
    const std::string small = scratch.path() + "/small";
    fs::create_directory(small);
    if (::mount("tmpfs", small.c_str(), "tmpfs", 0, "size=1m,mode=0700") != 0)
        GTEST_SKIP() << "mounting a tmpfs needs root";
    {
        auto options = options_in(scratch.path());
        options.directory = small;
        auto s = must(store::open(options));
        const held_blob blob = must(s.open_blob(key_of(blob_bytes)));
        const blob_writer writer = writer_of(blob);
        ASSERT_EQ(writer.claim({0, 71}), 71u);
        chunk_fill fill = writer.fill({0, 71});
        status last;
        while (last && !fill.done()) last = fill.append(content(fill.next_offset(), chunk_bytes));
        ASSERT_FALSE(last);
        EXPECT_TRUE(is_out_of_space(last.error())) << last.error().text;
        EXPECT_GT(writer.map().present_chunks(), 10u);
        EXPECT_TRUE(claims_are_true(writer.map(), writer.data()));
        // The rest goes into a store of its own.
        const held_blob rest = must(open_private(blob.key(), ""));
        const blob_writer overflow = writer_of(rest);
        fetch(overflow, {writer.map().first_missing(0), 71});
        EXPECT_EQ(overflow.map().present_chunks() + writer.map().present_chunks(), 71u);
        must(writer.checkpoint());
    }
    ::umount2(small.c_str(), MNT_DETACH);
}

}  // namespace
}  // namespace nerofs::cache
