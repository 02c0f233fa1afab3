#include "fetch/given_layer.h"

#include <algorithm>
#include <cerrno>
#include <limits>

#include "cache/key.h"
#include "codec/hex.h"
#include "codec/sha256.h"
#include "codec/stream_decoder.h"
#include "codec/zinfo.h"
#include "erofs/memory_reader.h"
#include "erofs/superblock.h"
#include "fetch/decoding_source.h"
#include "os/files.h"
#include "os/shared_memory.h"
#include "source/in_order.h"

namespace nerofs::fetch {
namespace {

constexpr std::uint64_t most_given_bytes = std::uint64_t{1} << 30;

result<std::vector<std::byte>> whole_file(fd_ref file) {
    NEROFS_TRY(const std::uint64_t size, os::file_size(file));
    if (size > most_given_bytes) return fail(error_kind::unsupported, "it has more than 1 GiB");
    std::vector<std::byte> bytes(size);
    NEROFS_CHECK(os::pread_exact(file, bytes, 0));
    return bytes;
}

// The content has no digest that anybody knows: it is named by what it is made from.
std::string key_of(const std::string& layer, std::span<const std::byte> zinfo, std::uint64_t size) {
    const std::string validator = '"' + codec::to_hex(codec::sha256::of(zinfo)) + '"';
    const auto key = cache::blob_key::from_url("zinfo:" + layer, validator, size);
    return key ? key->name() : "";
}

// What the stream decodes to, which only its end tells.
result<std::uint64_t> content_size(const remote_layer& layer, const codec::zinfo& places,
                                   std::chrono::milliseconds timeout) {
    const codec::gzip_checkpoint last = places.at(places.size() - 1);
    NEROFS_TRY(const auto decoder, codec::decode_gzip_from(last, codec::inflater::zlib));
    std::uint64_t size = last.decoded_offset;
    std::vector<std::byte> out(1u << 20);
    source::in_order_options order;
    order.silence = timeout;
    const auto each = [&](std::span<const std::byte> bytes) -> status {
        for (;;) {
            NEROFS_TRY(const auto done, decoder->decode(bytes, out));
            bytes = bytes.subspan(done.taken);
            size += done.made;
            if (size > layer::max_content_bytes) return fail(error_kind::unsupported, "it decodes to too much");
            if (done.made < out.size()) return {};
        }
    };
    NEROFS_CHECK(source::read_in_order(*layer.source, last.first_byte(), layer.blob.size, order, each));
    return size;
}

result<std::uint64_t> content_size(std::span<const std::byte> tarindex) {
    erofs::memory_reader image(tarindex);
    NEROFS_TRY(const erofs::superblock_info super,
               erofs::read_superblock(image, std::numeric_limits<std::int64_t>::max(), false));
    if (!super.flat_devices || super.needed_bytes <= tarindex.size())
        return fail(error_kind::corrupt, "it points to no tar behind it");
    return super.needed_bytes - tarindex.size();
}

result<remote_part> content_by_zinfo(const remote_layer& layer, fd_ref file, std::span<const std::byte> tarindex,
                                     std::chrono::milliseconds timeout) {
    NEROFS_TRY(const std::vector<std::byte> bytes, whole_file(file));
    NEROFS_TRY(const codec::zinfo places, codec::zinfo::parse(bytes, layer.blob.size));
    remote_part content;
    content.kind = part_kind::content;
    if (tarindex.empty()) {
        NEROFS_TRY(content.size, content_size(layer, places, timeout));
    } else {
        NEROFS_TRY(content.size, content_size(tarindex));
    }
    content.layer = layer.blob.digest;
    content.layer_size = layer.blob.size;
    content.key = key_of(content.layer, bytes, content.size);
    return content;
}

}  // namespace

result<std::vector<remote_part>> open_given_layer(remote_layer layer, const given_files& files, layer_work& work,
                                                  std::chrono::milliseconds timeout) {
    std::vector<std::byte> tarindex;
    if (files.tarindex) {
        auto read = whole_file(files.tarindex);
        const auto size = read ? content_size(*read) : fail(read.error());
        if (!size) return fail(error(size.error()).in("option 'oci.tarindex'"));
        tarindex = std::move(*read);
    }
    if (!files.zinfo) {
        std::vector<remote_layer> one;
        one.push_back(std::move(layer));
        NEROFS_TRY(opened_layers opened, open_layers(std::move(one), work, {}, timeout, tarindex));
        return std::move(opened.parts);
    }
    auto content = content_by_zinfo(layer, files.zinfo, tarindex, timeout);
    if (!content) return fail(std::move(content).error().in("option 'oci.zinfo'"));
    std::vector<remote_part> parts;
    if (!tarindex.empty()) {
        NEROFS_TRY(const layer_work::files own, work.files_for({}));
        NEROFS_TRY(remote_part metadata, write_metadata(tarindex, own.metadata, work));
        parts.push_back(std::move(metadata));
    }
    parts.push_back(std::move(*content));
    return parts;
}

result<layer::layer_index> index_of_zinfo(fd_ref zinfo, const remote_part& part) {
    NEROFS_TRY(const std::vector<std::byte> bytes, whole_file(zinfo));
    if (!part.key.empty() && key_of(part.layer, bytes, part.size) != part.key)
        return fail(error_kind::usage, "it is not the file that was given: it has changed", ESTALE);
    NEROFS_TRY(const codec::zinfo places, codec::zinfo::parse(bytes, part.layer_size));
    const auto digest = codec::sha256_named(part.layer).value_or(codec::sha256_digest{});
    return index_of(places, digest, part.layer_size, part.size);
}

}  // namespace nerofs::fetch
