// What comes into the cache as a whole file.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <fstream>

#include "cache/private_store.h"
#include "cache/store.h"
#include "support.h"

namespace nerofs::cache {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t blob_bytes = 5 * chunk_bytes + 100;
const std::string digest = "sha256:" + std::string(64, 'c');

struct store_files_test : ::testing::Test {
    scratch_directory scratch;
    blob_key key = key_of(blob_bytes);

    store opened(const char* boot = first_boot, std::uint64_t budget = 0) const {
        return must(store::open(options_in(scratch.path(), boot, budget)));
    }
    static unique_fd filled(unique_fd file, std::size_t bytes, char with) {
        const std::string text(bytes, with);
        EXPECT_EQ(::pwrite(file.get(), text.data(), text.size(), 0), static_cast<ssize_t>(bytes));
        return file;
    }
    static char first_byte(const held_blob& blob) {
        char c = 0;
        EXPECT_EQ(::pread(blob.data().get(), &c, 1, 0), 1);
        return c;
    }
    static live_map map_of(const held_blob& blob) { return must(live_map::map(blob.map(), blob_bytes, false)); }
    static bool is_whole(const held_blob& blob) {
        const live_map map = map_of(blob);
        return map.present_chunks() == map.chunks();
    }
    std::string index_path() const { return scratch.path() + "/cache/indexes/" + digest.substr(7); }
};

TEST_F(store_files_test, an_adopted_file_is_the_blob_whole_and_checked) {
    auto s = opened();
    const held_blob blob = must(s.adopt(key, filled(must(s.new_file()), blob_bytes, 'x')));
    EXPECT_TRUE(is_whole(blob));
    EXPECT_TRUE(map_of(blob).verified());
    EXPECT_EQ(first_byte(blob), 'x');
    EXPECT_EQ(map_of(must(s.open_blob(key))).present_chunks(), map_of(blob).chunks());
}

TEST_F(store_files_test, what_was_adopted_is_believed_after_a_reboot_only_with_a_checkpoint) {
    {
        auto s = opened();
        const held_blob blob = must(s.adopt(key, filled(must(s.new_file()), blob_bytes, 'x')));
    }
    {
        auto s = opened(second_boot);
        EXPECT_EQ(map_of(must(s.open_blob(key))).present_chunks(), 0u) << "nothing was synced";
        const held_blob blob = must(s.adopt(key, filled(must(s.new_file()), blob_bytes, 'y')));
        EXPECT_EQ(must(writer_of(blob).checkpoint()), checkpoint_outcome::written);
    }
    auto s = opened(first_boot);
    const held_blob blob = must(s.open_blob(key));
    EXPECT_TRUE(is_whole(blob));
    EXPECT_TRUE(map_of(blob).verified());
    EXPECT_EQ(first_byte(blob), 'y');
}

TEST_F(store_files_test, a_blob_that_is_complete_or_in_use_stays_as_it_is) {
    auto s = opened();
    const held_blob first = must(s.adopt(key, filled(must(s.new_file()), blob_bytes, 'x')));
    EXPECT_EQ(first_byte(must(s.adopt(key, filled(must(s.new_file()), blob_bytes, 'y')))), 'x');

    const blob_key other = any_key('d', blob_bytes);
    const held_blob used = must(s.open_blob(other));
    const held_blob adopted = must(s.adopt(other, filled(must(s.new_file()), blob_bytes, 'y')));
    EXPECT_EQ(map_of(adopted).present_chunks(), 0u) << "its user has maps of another file";
}

TEST_F(store_files_test, a_file_of_another_size_is_refused) {
    auto s = opened();
    const auto refused = s.adopt(key, filled(must(s.new_file()), blob_bytes - 1, 'x'));
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().kind, error_kind::usage);
}

TEST_F(store_files_test, a_file_of_nobodys_leaves_nothing) {
    auto s = opened();
    {
        const unique_fd file = filled(must(s.new_file()), 100, 'x');
        struct stat found {};
        ASSERT_EQ(::fstat(file.get(), &found), 0);
        EXPECT_EQ(found.st_mode & 0777, 0600u);
    }
    (void)must(s.gc());
    for (const auto& entry : fs::recursive_directory_iterator(scratch.path() + "/cache"))
        EXPECT_TRUE(entry.is_directory()) << entry.path();
}

TEST_F(store_files_test, an_index_is_found_by_its_layers_digest_and_may_be_replaced) {
    auto s = opened();
    EXPECT_FALSE(s.open_index(digest));
    EXPECT_FALSE(s.open_index("../../etc/passwd"));
    ASSERT_TRUE(s.keep_index(digest, filled(must(s.new_file()), 10, 'x')));
    const auto first = s.open_index(digest);
    ASSERT_TRUE(first);
    ASSERT_TRUE(s.keep_index(digest, filled(must(s.new_file()), 20, 'y')));
    struct stat found {};
    ASSERT_EQ(::fstat(first->get(), &found), 0);
    EXPECT_EQ(found.st_size, 10) << "who has it open goes on with it";
    const auto second = opened().open_index(digest);
    ASSERT_TRUE(second);
    ASSERT_EQ(::fstat(second->get(), &found), 0);
    EXPECT_EQ(found.st_size, 20);
    EXPECT_FALSE(s.keep_index("sha256:short", *second));
}

TEST_F(store_files_test, an_index_goes_when_room_is_needed_and_it_was_not_used_for_a_week) {
    auto s = opened(first_boot, 1);
    ASSERT_TRUE(s.keep_index(digest, filled(must(s.new_file()), 10, 'x')));
    (void)must(s.gc());
    EXPECT_TRUE(fs::exists(index_path()));
    fs::last_write_time(index_path(), fs::file_time_type::clock::now() - std::chrono::hours(24 * 8));
    (void)must(s.gc());
    EXPECT_FALSE(fs::exists(index_path()));
}

TEST_F(store_files_test, a_private_file_is_adopted_too) {
    const held_blob blob = must(adopt_private(key, filled(must(new_private_file(scratch.path())), blob_bytes, 'x')));
    EXPECT_TRUE(is_whole(blob));
    EXPECT_EQ(first_byte(blob), 'x');
    EXPECT_FALSE(blob.pin());
    const held_blob memory = must(adopt_private(key, filled(must(new_private_file("")), blob_bytes, 'y')));
    EXPECT_EQ(first_byte(memory), 'y');
}

}  // namespace
}  // namespace nerofs::cache
