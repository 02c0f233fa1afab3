// Stores in a directory of their own, blobs with known bytes, and children that die.
#pragma once

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "base/fault.h"
#include "cache/store.h"
#include "cache/writer.h"
#include "codec/hex.h"
#include "codec/sha256.h"
#include "support/scratch_directory.h"

namespace nerofs::cache {

using test::scratch_directory;

inline constexpr const char* first_boot = "11111111-1111-1111-1111-111111111111";
inline constexpr const char* second_boot = "22222222-2222-2222-2222-222222222222";

inline store_options options_in(const std::string& path, const char* boot = first_boot, std::uint64_t budget = 0) {
    return {path + "/cache", path + "/run", budget, boot};
}

// A byte that depends on its place in a way that no shift or exchange of chunks keeps.
inline std::byte content_at(std::uint64_t offset) {
    std::uint64_t x = offset / 8 * 0x9e3779b97f4a7c15u + 1;
    x ^= x >> 29;
    return static_cast<std::byte>((x >> (offset % 8 * 7)) | 1);  // never 0: a hole is always wrong
}
inline std::vector<std::byte> content(std::uint64_t offset, std::uint64_t length) {
    std::vector<std::byte> bytes(length);
    for (std::uint64_t i = 0; i < length; ++i) bytes[i] = content_at(offset + i);
    return bytes;
}
inline std::string digest_of(std::uint64_t size) {
    return "sha256:" + codec::to_hex(codec::sha256::of(content(0, size)));
}
inline blob_key key_of(std::uint64_t size) {
    return *blob_key::from_digest(digest_of(size), size);
}
// Some key with the size, for blobs whose bytes don't matter.
inline blob_key any_key(char digit, std::uint64_t size) {
    return *blob_key::from_digest("sha256:" + std::string(64, digit), size);
}

// The value, or the test's end with the error's text.
template <class T>
T must(result<T> r) {
    if (!r) {
        ADD_FAILURE() << r.error().message();
        std::abort();
    }
    return std::move(*r);
}
inline void must(const status& s) {
    if (!s) {
        ADD_FAILURE() << s.error().message();
        std::abort();
    }
}

inline blob_writer writer_of(const held_blob& blob, file_io& io = file_io::system()) {
    return must(blob_writer::attach(must(blob.for_writer()), blob.key().size(), io));
}
inline blob_reader reader_of(const held_blob& blob) {
    return must(blob_reader::open(must(blob.for_reader()), blob.key().size()));
}

// Claims and fills chunks that nobody else has.
inline void fetch(const blob_writer& writer, chunk_range range) {
    ASSERT_EQ(writer.claim(range), range.count());
    chunk_fill fill = writer.fill(range);
    must(fill.append(content(fill.next_offset(), fill.end_offset() - fill.next_offset())));
    ASSERT_TRUE(fill.done());
}

inline std::vector<std::byte> file_bytes(fd_ref file, std::uint64_t offset, std::uint64_t length) {
    std::vector<std::byte> bytes(length);
    const ssize_t n = ::pread(file.get(), bytes.data(), length, static_cast<off_t>(offset));
    bytes.resize(n < 0 ? 0 : static_cast<std::size_t>(n));
    return bytes;
}

// Every chunk that the map claims to be there has its right bytes in the file.
inline ::testing::AssertionResult claims_are_true(const live_map& map, fd_ref data) {
    for (std::uint64_t chunk = 0; chunk < map.chunks(); ++chunk) {
        if (!map.present(chunk)) continue;
        const std::uint64_t offset = chunk << chunk_shift;
        const std::uint64_t length = std::min(chunk_bytes, map.blob_bytes() - offset);
        if (file_bytes(data, offset, length) != content(offset, length))
            return ::testing::AssertionFailure() << "chunk " << chunk << " is wrong";
    }
    return ::testing::AssertionSuccess();
}

// Runs `work` in a forked child with the given fault plan. The wait status.
inline int in_child(const std::function<void()>& work, [[maybe_unused]] const std::string& plan = {}) {
    const pid_t child = ::fork();
    if (child == 0) {
#if NEROFS_FAULTS
        fault::set_plan(plan);
#endif
        work();
        ::_exit(::testing::Test::HasFailure() ? 99 : 0);
    }
    int state = 0;
    ::waitpid(child, &state, 0);
    return state;
}

}  // namespace nerofs::cache
