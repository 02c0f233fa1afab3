// The cache directory: opens, lists, evicts and removes blobs. Runs as the owner of the directory (the keeper, the
// command line); the processes that use a blob get descriptors and never a path. docs/cache.md has the layout.
//
// All calls block for as long as local file systems do. Any thread, and any number of processes at a time.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"
#include "cache/durable_map.h"
#include "cache/key.h"
#include "cache/presence/reader.h"
#include "cache/writer.h"

namespace nerofs::cache {

inline constexpr const char* default_store_directory = "/var/cache/nerofs";

struct store_options {
    std::string directory = default_store_directory;
    // For the live maps: memory that ends with the kernel. Made if missing.
    std::string run_directory = "/run/nerofs/cache";
    // Bytes on disk that the blobs may take together; 0: no limit. A goal: blobs in use are never taken for it.
    std::uint64_t budget_bytes = 0;
    // Which boot this is; empty: asked of the kernel.
    std::string boot_id;
};

// Bytes that are on disk since before anybody used the blob: there for everyone at once, or only when a writer has
// looked at them (blob_writer::kept).
enum class kept_bytes : std::uint8_t { believed, to_be_checked };

// A blob in use: it isn't evicted while any descriptor of `pin`, or a duplicate of it, is open anywhere. Give a
// duplicate to each process that must go on when the others die.
class held_blob {
  public:
    held_blob() = default;
    // Takes back what a process was given to keep (a new keeper). `map` may be read-only.
    held_blob(blob_key key, unique_fd pin, unique_fd data, unique_fd map, unique_fd durable)
        : key_(std::move(key)),
          pin_(std::move(pin)),
          data_(std::move(data)),
          map_(std::move(map)),
          durable_(std::move(durable)) {}

    const blob_key& key() const { return key_; }
    // All four outlive a reset, an eviction by hand (rm -r) and the keeper, if another process keeps duplicates.
    fd_ref pin() const { return pin_; }
    fd_ref data() const { return data_; }
    fd_ref map() const { return map_; }
    fd_ref durable() const { return durable_; }

    // This holder's pin ends; the rest stays open.
    void unpin() { pin_.reset(); }

    // Fresh descriptions of this very instance, each time.
    result<reader_files> for_reader() const;
    result<writer_files> for_writer() const;

  private:
    blob_key key_;
    unique_fd pin_;
    unique_fd data_;
    unique_fd map_;
    unique_fd durable_;
};

struct blob_info {
    blob_key key;
    std::uint64_t present_bytes = 0;
    std::uint64_t disk_bytes = 0;
    bool pinned = false;
    bool verified = false;
    std::chrono::system_clock::time_point last_use;
};

struct store_usage {
    std::uint64_t used_bytes = 0;   // on disk, all blobs
    std::uint64_t freed_bytes = 0;  // by this call
    unsigned removed = 0;           // blobs, by this call
    bool within_budget = true;      // false: only blobs in use are left. Don't fetch ahead of need
};

class store {
  public:
    // Makes the directories. Kind permission when somebody else may write to the cache directory.
    static result<store> open(store_options options);

    // Opens a blob, empty if it isn't there yet, and pins it. What is damaged, of another size, lost or quarantined is
    // replaced by an empty one. is_out_of_space() when there is no room for the maps: use a private store.
    result<held_blob> open_blob(const blob_key& key, kept_bytes kept = kept_bytes::believed);

    // A file of nobody's yet on the cache's file system, for what will be a blob or an index. Gone with its last
    // descriptor unless it is adopted or kept.
    result<unique_fd> new_file();
    // Opens a blob as open_blob() does, and lets it begin as this file of new_file()'s, whole and said to be checked.
    // A blob that has these bytes already, or is in use, stays as it is. Kind usage when the file isn't of the key's
    // size.
    result<held_blob> adopt(const blob_key& key, fd_ref file);

    // What is kept about a layer, by the layer's digest ("sha256:<hex>"): layer/layer_index.h knows what is in it.
    // Another file may take its place at any time; it goes when it wasn't used for a week and room is needed.
    std::optional<unique_fd> open_index(const std::string& digest);
    status keep_index(const std::string& digest, fd_ref file);

    // Evicts, least recently used first, until `bytes` more fit the budget.
    result<store_usage> make_room(std::uint64_t bytes);
    // The same until `bytes` were freed, whatever the budget: the file system is full.
    result<store_usage> free_bytes(std::uint64_t bytes);

    // After its last user went: makes durable what isn't, and removes the live map. Nothing happens if it is in use.
    status settle(const blob_key& key);

    result<std::vector<blob_info>> list();
    // Kind retryable (EBUSY) when it is in use, not_found when there is none. The bytes it freed.
    result<std::uint64_t> remove(const blob_key& key);
    // Removes what crashes left and blobs in quarantine, settles what nobody uses, and keeps to the budget.
    result<store_usage> gc();

  private:
    enum class reset_reason : std::uint8_t { replace, quarantine };

    // An existing blob's directory with its pin byte locked, or nothing.
    struct locked_blob {
        unique_fd directory;
        unique_fd lock;
    };
    // What a blob's directory has on disk.
    struct disk_state {
        durable_state durable;
        unique_fd durable_file;
        unique_fd data;
    };

    result<locked_blob> pin_directory(const std::string& name);
    result<std::optional<locked_blob>> lock_unused(const std::string& name);
    result<disk_state> open_disk_state(const locked_blob& blob, const blob_key& key);
    // `whole`: the data file, complete; otherwise an empty one is made.
    result<disk_state> reset(const locked_blob& blob, const blob_key& key, reset_reason why,
                             const std::optional<instance_id>& old, fd_ref whole = {});
    result<unique_fd> open_live_map(const blob_key& key, const disk_state& disk, blob_state& state, kept_bytes kept);
    result<unique_fd> make_live_map(const blob_key& key, const disk_state& disk, kept_bytes kept);
    void remove_live_maps(const std::string& name);
    result<std::uint64_t> remove_locked(const std::string& name, const locked_blob& blob);
    result<blob_info> inspect(const blob_key& key);
    result<std::vector<std::string>> names();
    result<store_usage> evict(const std::function<bool(std::uint64_t used, std::uint64_t freed)>& enough);
    void empty_trash();
    std::uint64_t remove_old_indexes();
    status settle(const blob_key& key, bool used_now);
    result<held_blob> open_pinned(const blob_key& key, bool used_now, kept_bytes kept = kept_bytes::believed);

    store_options options_;
    std::array<std::byte, 16> boot_{};
    unique_fd root_;
    unique_fd blobs_;
    unique_fd trash_;
    unique_fd quarantine_;
    unique_fd indexes_;
    unique_fd run_;
};

}  // namespace nerofs::cache
