// A source whose files are wanted without a mount, opened.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "cli/source_spec.h"
#include "erofs/byte_reader.h"
#include "erofs/reader.h"
#include "erofs/tree.h"
#include "layer/layer_index.h"

namespace nerofs::commands {

class remote_reader;

// What an erofs::reader reads from, and the reader. Wherever the bytes come from, this is what commands see.
struct opened_image {
    std::unique_ptr<erofs::byte_reader> metadata;
    std::uint64_t metadata_bytes = 0;
    std::vector<std::unique_ptr<erofs::byte_reader>> devices;  // none: they lie behind the metadata, if there are any
    std::unique_ptr<erofs::reader> files;
    std::vector<std::string> notes;    // lines for the user, about what isn't as in the source
    remote_reader* fetched = nullptr;  // `metadata`, of an image that is fetched

    // Opens `files` over the others.
    status open();
    // The bytes of the file that `path` names, and of those below it, will be read: where they are fetched, that
    // begins.
    status expect(std::string_view path, erofs::last_symlink last);
};

// A file or block device: an EROFS image, or a tar archive, plain or compressed by gzip or zstd; what is compressed is
// decoded into an unlinked temporary file first ($TMPDIR, else /var/tmp). Errors: those of the file system; corrupt
// and unsupported, as the parsers have them. They don't name the source. Blocks.
result<opened_image> open_local_image(const std::string& path);

// An image behind a URL or in a registry, read through the cache as it is needed. Needs no privileges. Errors: those of
// remote_wish_of(), remote_image::open() and the parsers; reading: remote_reader's. Blocks: layers that are seen for
// the first time are read as a whole.
result<opened_image> open_remote_image(const cli::source_spec& source, const cli::mount_options& options);

// By the first bytes of a tar; 4 are enough.
layer::compression compression_of(std::span<const std::byte> first);

}  // namespace nerofs::commands
