#include "fetch/open_layers.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <condition_variable>
#include <map>
#include <mutex>
#include <thread>

#include "base/log.h"
#include "base/zeros.h"
#include "cache/key.h"
#include "codec/sha256.h"
#include "erofs/memory_reader.h"
#include "erofs/writer.h"
#include "layer/ingest.h"
#include "layer/merge.h"
#include "os/files.h"
#include "os/shared_memory.h"
#include "source/in_order.h"

namespace nerofs::fetch {
namespace {

using namespace std::chrono_literals;

constexpr unsigned layers_at_once = 3;  // decoded, each by a thread; more would only take memory
constexpr auto tell_every = 500ms;
constexpr auto room_pause = 200ms;
constexpr unsigned most_room_pauses = 50;
constexpr std::uint64_t page_bytes = 4096;  // what a kernel reads at least, on most machines
constexpr std::uint64_t most_index_bytes = std::uint64_t{1} << 30;

// Appends to a file in the cache, leaving holes where there are only zeros; a full disk is waited for, for a while.
class appender {
  public:
    appender(fd_ref file, std::function<status()> no_room) : file_(file), no_room_(std::move(no_room)) {}

    status operator()(std::span<const std::byte> bytes) {
        while (!bytes.empty()) {
            // Up to the next multiple of a block, so that holes are whole ones.
            const auto n =
                static_cast<std::size_t>(std::min<std::uint64_t>(bytes.size(), hole_bytes - at_ % hole_bytes));
            const auto piece = bytes.first(n);
            if (!is_zero(piece)) NEROFS_CHECK(write(piece));
            at_ += n;
            bytes = bytes.subspan(n);
        }
        return {};
    }

    // The file has its size, whatever it ends with.
    status finish() {
        if (at_ == end_) return {};
        --at_;
        return write(std::array{std::byte{0}});
    }

  private:
    static constexpr std::uint64_t hole_bytes = 16384;

    // Where it stands.
    status write(std::span<const std::byte> bytes) {
        unsigned pauses = 0;
        for (std::uint64_t at = at_; !bytes.empty();) {
            const ssize_t n = ::pwrite(file_.get(), bytes.data(), bytes.size(), static_cast<off_t>(at));
            if (n < 0 && errno == EINTR) continue;
            if (n <= 0) {
                if ((errno != ENOSPC && errno != EDQUOT) || pauses++ == most_room_pauses)
                    return fail_errno("write into the cache");
                NEROFS_CHECK(no_room_());
                std::this_thread::sleep_for(room_pause);
                continue;
            }
            at += static_cast<std::uint64_t>(n);
            end_ = at;
            bytes = bytes.subspan(static_cast<std::size_t>(n));
        }
        return {};
    }

    fd_ref file_;
    std::function<status()> no_room_;
    std::uint64_t at_ = 0;
    std::uint64_t end_ = 0;  // of what was written
};

status write_all(fd_ref file, std::span<const std::byte> bytes, std::function<status()> no_room) {
    appender append(file, std::move(no_room));
    NEROFS_CHECK(append(bytes));
    return append.finish();
}

class opening {
  public:
    opening(const std::vector<remote_layer>& layers, layer_work& work, std::span<index_offer* const> offers,
            std::chrono::milliseconds timeout, std::span<const std::byte> metadata)
        : layers_(layers), work_(work), offers_(offers), timeout_(timeout), given_metadata_(metadata) {}

    status get_indexes() {
        std::vector<stored_layer> unique;
        for (const remote_layer& l : layers_) {
            const auto [known, fresh] = number_of_.emplace(l.blob.digest, unique.size());
            if (!fresh) continue;
            unique.push_back(l.blob);
            source_of_.push_back(&l);
        }
        NEROFS_TRY(files_, work_.files_for(unique));
        indexes_.resize(unique.size());
        from_.resize(unique.size());
        NEROFS_CHECK(find_indexes());
        return read_missing();
    }

    // One that was offered may be sound alone, and have links to what isn't in the others.
    bool has_offered() const {
        return std::any_of(from_.begin(), from_.end(), [](auto f) { return f != index_origin::whole_layer; });
    }

    // After get_indexes().
    result<opened_layers> put_together() {
        opened_layers opened;
        NEROFS_TRY(opened.parts, make_parts());
        for (std::size_t i = 0; i < indexes_.size(); ++i) {
            layer_files& files = files_.layers[i];
            const bool fresh = std::find(missing_.begin(), missing_.end(), i) != missing_.end();
            opened.indexes.push_back({source_of_[i]->blob.digest, std::move(fresh ? files.fresh : files.index)});
        }
        return opened;
    }

  private:
    status find_indexes() {
        for (std::size_t i = 0; i < indexes_.size(); ++i) {
            const layer_files& files = files_.layers[i];
            if (files.index)
                if (auto known = read_layer_index(files.index, source_of_[i]->blob.digest)) {
                    from_[i] = files.from;
                    indexes_[i] = std::move(*known);
                }
            if (!indexes_[i]) missing_.push_back(i);
        }
        return {};
    }

    // A few layers at a time, while this thread tells how far they are.
    status read_missing() {
        if (missing_.empty()) return {};
        std::uint64_t total = 0;
        for (const std::size_t i : missing_) total += source_of_[i]->blob.size;
        std::vector<std::thread> threads;
        running_ = std::min<std::size_t>(layers_at_once, missing_.size());
        for (std::size_t i = running_; i > 0; --i) threads.emplace_back([this] { work_on_missing(); });
        {
            std::unique_lock lock(mutex_);
            while (!changed_.wait_for(lock, tell_every, [this] { return running_ == 0; }) && !failure_) {
                lock.unlock();
                const status told = tell(fmt::format(
                    "reading {} of {} layers for the first time: {:.1f} of {:.1f} MB", missing_.size(), layers_.size(),
                    static_cast<double>(received_) / 1e6, static_cast<double>(total) / 1e6));
                lock.lock();
                if (!told && !failure_) failure_ = told.error();
            }
        }
        for (std::thread& t : threads) t.join();
        return failure_ ? fail(*failure_) : status();
    }

    void work_on_missing() {
        for (;;) {
            std::size_t layer = 0;
            {
                const std::lock_guard lock(mutex_);
                if (failure_ || next_ == missing_.size()) break;
                layer = missing_[next_++];
            }
            const status done = get_index(layer);
            const std::lock_guard lock(mutex_);
            if (!done && !failure_) failure_ = done.error();
        }
        const std::lock_guard lock(mutex_);
        --running_;
        changed_.notify_all();
    }

    status get_index(std::size_t number) {
        for (index_offer* offer : offers_) {
            auto found = offer->get(*source_of_[number]);
            if (!found) continue;
            if (const status sound = check_tree(found->index); !sound) {
                log::info("the index of layer " + source_of_[number]->blob.digest +
                          " that came with the image is ignored: " + sound.error().message());
                continue;
            }
            NEROFS_CHECK(write_all(files_.layers[number].fresh, found->file, [this] { return no_room(); }));
            return keep(number, offer->origin(), std::move(found->index));
        }
        return read_layer(number);
    }

    // What no merge takes would be in the way of this image for as long as it is kept.
    static status check_tree(const layer::layer_index& index) {
        layer::merged_tree alone;
        erofs::memory_reader image(index.tarindex);
        NEROFS_CHECK(alone.add(image, index.tarindex.size(), {}));
        if (alone.devices().front() >
            (index.content_bytes + part_block_bytes - 1) / part_block_bytes * part_block_bytes)
            return fail(error_kind::corrupt, "its files lie beyond the layer's content");
        return {};
    }

    status read_layer(std::size_t number) {
        const remote_layer& from = *source_of_[number];
        const auto no_room = [this] { return this->no_room(); };
        layer::ingest_options options;
        options.how = from.how;
        options.stored_digest = codec::sha256_named(from.blob.digest);  // other algorithms can't be computed here
        options.hash_threads = 1;
        appender append(files_.layers[number].content, no_room);
        options.content = [this, &append](std::span<const std::byte> bytes) -> status {
            const std::uint64_t most = files_.most_content_bytes;
            if ((content_ += bytes.size()) > most && most != 0)
                return fail(make_error(error_kind::permanent,
                                       fmt::format("the layers decode to more than the {} MB that the cache may take",
                                                   most / 1'000'000),
                                       EFBIG)
                                .with_hint("-o cache.size= lets it take more"));
            return append(bytes);
        };
        layer::layer_ingest ingest(std::move(options));
        source::in_order_options order;
        order.silence = timeout_;
        const auto push = [&](std::span<const std::byte> bytes) -> status {
            received_ += bytes.size();
            if (stopped()) return fail(error_kind::cancelled, "another layer failed");
            return ingest.push(bytes);
        };
        if (status read = source::read_in_order(*from.source, 0, from.blob.size, order, push); !read)
            return fail(std::move(read).error().in("layer " + from.blob.digest));
        NEROFS_TRY(layer::layer_index index, ingest.finish());
        NEROFS_CHECK(append.finish());
        NEROFS_TRY(const std::vector<std::byte> file, index.encode());
        NEROFS_CHECK(write_all(files_.layers[number].fresh, file, no_room));
        return keep(number, index_origin::whole_layer, std::move(index));
    }

    status keep(std::size_t number, index_origin from, layer::layer_index index) {
        const indexed_layer done{static_cast<std::uint32_t>(number), from, codec::sha256_name(index.content_digest),
                                 index.content_bytes};
        from_[number] = from;
        index.units = {};
        index.checkpoints = {};
        index.chunks = {};
        indexes_[number] = std::move(index);
        const std::lock_guard lock(work_mutex_);
        return work_.indexed(done);
    }

    status no_room() {
        const std::lock_guard lock(work_mutex_);
        return work_.no_room();
    }

    bool stopped() {
        const std::lock_guard lock(mutex_);
        return failure_.has_value();
    }

    status tell(const std::string& what) {
        const std::lock_guard lock(work_mutex_);
        return work_.progress(what);
    }

    result<std::vector<remote_part>> make_parts() {
        layer::merged_tree tree;
        std::vector<remote_part> parts(1);
        for (const remote_layer& l : layers_) {
            const std::size_t number = number_of_[l.blob.digest];
            const layer::layer_index& index = *indexes_[number];
            erofs::memory_reader image(index.tarindex);
            if (given_metadata_.empty()) NEROFS_CHECK(tree.add(image, index.tarindex.size(), index.unresolved));
            remote_part content;
            content.kind = part_kind::content;
            if (from_[number] != index_origin::toc) content.digest = codec::sha256_name(index.content_digest);
            content.size = index.content_bytes;
            content.layer = l.blob.digest;
            content.layer_size = l.blob.size;
            content.index = l.blob.index_name(from_[number]);
            if (content.size == 0) continue;
            NEROFS_TRY(const cache::blob_key key, key_of(content, from_[number], index));
            content.key = key.name();
            parts.push_back(std::move(content));
        }
        if (!given_metadata_.empty()) {
            NEROFS_TRY(parts.front(), write_metadata(given_metadata_, files_.metadata, work_));
            return parts;
        }
        // The device has all of a tar, which may be longer than what its last member needs.
        std::vector<std::uint64_t> sizes;
        for (const remote_layer& l : layers_) sizes.push_back(indexes_[number_of_[l.blob.digest]]->content_bytes);
        erofs::index_options how;
        how.fill_to = page_bytes;
        NEROFS_TRY(const erofs::index_image metadata, erofs::write_index(tree, sizes, how));
        NEROFS_TRY(parts.front(), write_metadata(metadata.bytes, files_.metadata, work_));
        return parts;
    }

    // What was decoded by an index of others' isn't known to be what its digest says until all of it is here, and by a
    // table of contents there is no digest. Its place is that of what this very index says, and no other image's.
    static result<cache::blob_key> key_of(const remote_part& content, index_origin from,
                                          const layer::layer_index& index) {
        if (from == index_origin::whole_layer) return cache::blob_key::from_digest(content.digest, content.size);
        return cache::blob_key::from_url("layer-index:" + codec::sha256_name(index.file_digest),
                                         '"' + content.digest + '"', content.size);
    }

    const std::vector<remote_layer>& layers_;
    layer_work& work_;
    const std::span<index_offer* const> offers_;
    const std::chrono::milliseconds timeout_;
    const std::span<const std::byte> given_metadata_;
    // Of layers that differ.
    std::map<std::string, std::size_t> number_of_;
    std::vector<const remote_layer*> source_of_;
    layer_work::files files_;
    std::vector<std::optional<layer::layer_index>> indexes_;
    std::vector<index_origin> from_;
    std::vector<std::size_t> missing_;

    std::mutex work_mutex_;  // of calls to work_ while threads read
    std::mutex mutex_;       // of what follows
    std::condition_variable changed_;
    std::size_t next_ = 0;     // of missing_
    std::size_t running_ = 0;  // threads
    std::optional<error> failure_;
    std::atomic<std::uint64_t> received_{0};
    std::atomic<std::uint64_t> content_{0};
};

}  // namespace

result<opened_layers> open_layers(std::vector<remote_layer> layers, layer_work& work,
                                  std::span<index_offer* const> offers, std::chrono::milliseconds timeout,
                                  std::span<const std::byte> metadata) {
    {
        opening all(layers, work, offers, timeout, metadata);
        NEROFS_CHECK(all.get_indexes());
        auto opened = all.put_together();
        if (opened || !all.has_offered()) return opened;
        log::info("the indexes of layers that came with the image are ignored: " + opened.error().message());
    }
    for (remote_layer& l : layers)
        for (const auto from : {index_origin::toc, index_origin::pushed}) l.blob.index_name(from).clear();
    opening whole(layers, work, {}, timeout, metadata);
    NEROFS_CHECK(whole.get_indexes());
    return whole.put_together();
}

result<remote_part> write_metadata(std::span<const std::byte> bytes, fd_ref file, layer_work& work) {
    remote_part part;
    part.kind = part_kind::metadata;
    part.digest = codec::sha256_name(codec::sha256::of(bytes));
    part.size = bytes.size();
    NEROFS_TRY(const cache::blob_key key, cache::blob_key::from_digest(part.digest, part.size));
    part.key = key.name();
    NEROFS_CHECK(write_all(file, bytes, [&work] { return work.no_room(); }));
    return part;
}

result<layer::layer_index> read_layer_index(fd_ref file, std::string_view digest) {
    NEROFS_TRY(const std::uint64_t size, os::file_size(file));
    if (size > most_index_bytes) return fail(error_kind::corrupt, "the index is too large");
    std::vector<std::byte> bytes(size);
    NEROFS_CHECK(os::pread_exact(file, bytes, 0));
    NEROFS_TRY(layer::layer_index index, layer::layer_index::parse(bytes));
    if (codec::sha256_name(index.stored_digest) != digest)
        return fail(error_kind::corrupt, "the index is another layer's");
    return index;
}

}  // namespace nerofs::fetch
