#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <span>
#include <variant>
#include <vector>

#include "codec/gzip_index.h"
#include "codec/zinfo.h"
#include "codec/zstd_seek.h"
#include "commands/actions.h"
#include "commands/open_image.h"
#include "commands/remote_reader.h"
#include "commands/remote_request.h"
#include "commands/text.h"
#include "erofs/writer.h"
#include "layer/tar_reader.h"
#include "layer/tree.h"
#include "os/files.h"

namespace nerofs::commands {
namespace {

using bytes_view = std::span<const std::byte>;

constexpr std::size_t piece_bytes = 1U << 20;

// A tar, compressed or not, on its way into a tree.
class indexing {
  public:
    explicit indexing(bool wants_zinfo)
        : wants_zinfo_(wants_zinfo), tar_([this](layer::tar_entry&& e) { return tree_.add(std::move(e)); }) {}

    status push(bytes_view stored);
    status finish();
    result<erofs::index_image> index() const { return erofs::write_index(tree_, tar_.archive_bytes()); }
    result<std::vector<std::byte>> zinfo() { return std::move(zinfo_).finish(); }

  private:
    status begin(bytes_view first);

    bool wants_zinfo_;
    bool begun_ = false;
    layer::tree tree_;
    layer::tar_reader tar_;
    codec::zinfo_writer zinfo_;
    std::variant<std::monostate, codec::gzip_indexer, codec::zstd_indexer> decoder_;
};

status indexing::begin(bytes_view first) {
    begun_ = true;
    const layer::compression how = compression_of(first);
    if (wants_zinfo_ && how != layer::compression::gzip)
        return fail(error_kind::usage, "--zinfo goes with a gzip stream only");
    const auto decoded = [this](bytes_view content) { return tar_.push(content); };
    if (how == layer::compression::gzip) {
        codec::gzip_index_options options;
        options.max_decoded_bytes = layer::max_content_bytes;
        options.span_bytes = codec::default_zinfo_span_bytes;
        options.at_every_member = true;
        decoder_ = codec::gzip_indexer(options, {decoded, [this](const codec::gzip_checkpoint& at) {
                                                     return wants_zinfo_ ? zinfo_.append(at) : status();
                                                 }});
    } else if (how == layer::compression::zstd) {
        decoder_ = codec::zstd_indexer({layer::max_content_bytes, UINT64_MAX},
                                       {decoded, [](const codec::zstd_frame&) { return status(); }});
    }
    return {};
}

status indexing::push(bytes_view stored) {
    if (!begun_) NEROFS_CHECK(begin(stored));
    if (auto* gzip = std::get_if<codec::gzip_indexer>(&decoder_)) return gzip->push(stored);
    if (auto* zstd = std::get_if<codec::zstd_indexer>(&decoder_)) return zstd->push(stored);
    return tar_.push(stored);
}

status indexing::finish() {
    if (auto* gzip = std::get_if<codec::gzip_indexer>(&decoder_)) NEROFS_CHECK(gzip->finish());
    if (auto* zstd = std::get_if<codec::zstd_indexer>(&decoder_)) NEROFS_CHECK(zstd->finish());
    NEROFS_CHECK(tar_.finish());
    return tree_.finish();
}

status push_fetched(indexing& to, const std::string& source, const cli::mount_options& options) {
    NEROFS_TRY(const cli::source_spec spec, cli::classify_source(source, options, cli::local_entry::none));
    NEROFS_TRY(remote_wish wish, remote_wish_of(spec, options));
    wish.source.raw = true;
    NEROFS_TRY(const auto reader, open_to_read(std::move(wish)));
    reader->expect({{0, reader->bytes()}});
    std::vector<std::byte> piece(piece_bytes);
    for (std::uint64_t at = 0; at < reader->bytes(); at += piece_bytes) {
        const auto some = std::span(piece).first(std::min<std::uint64_t>(piece_bytes, reader->bytes() - at));
        NEROFS_CHECK(reader->read_exact(at, some));
        NEROFS_CHECK(to.push(some));
    }
    return {};
}

// As much as there is up to a whole piece, so that the first one tells what the stream is.
result<std::size_t> read_piece(fd_ref from, std::span<std::byte> into) {
    std::size_t got = 0;
    while (got < into.size()) {
        const ssize_t count = ::read(from.get(), into.data() + got, into.size() - got);
        if (count < 0 && errno == EINTR) continue;
        if (count < 0) return fail_errno("read");
        if (count == 0) break;
        got += static_cast<std::size_t>(count);
    }
    return got;
}

status push_file(indexing& to, const std::string& path) {
    unique_fd file = duplicate(fd_ref(STDIN_FILENO));
    if (path != "-") {
        NEROFS_TRY(file, os::open_file(path, O_RDONLY));
    }
    std::vector<std::byte> piece(piece_bytes);
    for (;;) {
        NEROFS_TRY(const std::size_t got, read_piece(file, piece));
        if (got == 0) return {};
        NEROFS_CHECK(to.push(std::span(piece).first(got)));
    }
}

status write_file(const std::string& path, bytes_view bytes) {
    NEROFS_TRY(const unique_fd file, os::open_file(path, O_WRONLY | O_CREAT | O_TRUNC, 0666));
    while (!bytes.empty()) {
        const ssize_t count = ::write(file.get(), bytes.data(), bytes.size());
        if (count < 0 && errno == EINTR) continue;
        if (count < 0) return fail_errno("write '" + printable(path) + "'");
        bytes = bytes.subspan(static_cast<std::size_t>(count));
    }
    return {};
}

}  // namespace

status do_index(const cli::nerofs_index& command) {
    const auto run = [&]() -> status {
        indexing work(!command.zinfo.empty());
        NEROFS_CHECK(command.fetched ? push_fetched(work, command.source, command.options)
                                     : push_file(work, command.source));
        NEROFS_CHECK(work.finish());
        NEROFS_TRY(const erofs::index_image index, work.index());
        if (!command.zinfo.empty()) {
            NEROFS_TRY(const std::vector<std::byte> zinfo, work.zinfo());
            NEROFS_CHECK(write_file(command.zinfo, zinfo));
        }
        return write_file(command.out, index.bytes);
    };
    auto done = run();
    if (!done)
        return fail(std::move(done).error().in("cannot index '" + printable(shown_source(command.source)) + "'"));
    return {};
}

}  // namespace nerofs::commands
