// What a superblock's feature bits mean in words: names, and the kernels that know them.
#include <fmt/format.h>

#include <algorithm>

#include "codec/hex.h"
#include "erofs/ondisk.h"
#include "erofs/superblock.h"

namespace nerofs::erofs {
namespace {

using namespace ondisk;

// Blocks smaller than any page.
constexpr unsigned page_bits_least = 12;

}  // namespace

std::string kernel_need::series() const {
    return fmt::format("{}.{}", major, minor);
}

std::string superblock_info::uuid_text() const {
    std::string text = codec::to_hex(uuid);
    for (const std::size_t at : {20u, 16u, 12u, 8u}) text.insert(at, "-");
    return text;
}

std::vector<std::string> superblock_info::feature_names() const {
    std::vector<std::string> names;
    const auto add = [&](bool used, const char* name) {
        if (used) names.emplace_back(name);
    };
    const auto compat = [&](std::uint32_t bit) { return (feature_compat & bit) != 0; };
    const auto algorithm = [&](std::uint16_t bit) { return (algorithms & bit) != 0; };
    add(compat(compat_checksum), "sb_chksum");
    add(compat(compat_mtime), "mtime");
    add(compat(compat_xattr_filter), "xattr_filter");
    add(compat(compat_shared_xattr_metabox), "shared_ea_in_metabox");
    add(compat(compat_plain_xattr_prefixes), "plain_xattr_pfx");
    add(compat(compat_inode_share_xattrs), "ishare_xattrs");
    add(has(incompat_zero_padding), "0padding");
    add(has(incompat_compr_cfgs), "compr_cfgs");
    add(has(incompat_chunked_file), "chunked_file");
    // One bit for two features each; the fields that go with one of them tell.
    add(has(incompat_device_table), devices.empty() ? "compr_head2" : "device_table");
    add(has(incompat_ztailpacking), "ztailpacking");
    add(has(incompat_fragments), packed_nid == 0 ? "dedupe" : "fragments");
    add(has(incompat_xattr_prefixes), "xattr_prefixes");
    add(has(incompat_48bit), "48bit");
    add(has(incompat_metabox), "metabox");
    add(algorithm(algorithm_lz4), "lz4");
    add(algorithm(algorithm_lzma), "lzma");
    add(algorithm(algorithm_deflate), "deflate");
    add(algorithm(algorithm_zstd), "zstd");
    return names;
}

kernel_need superblock_info::first_kernel() const {
    kernel_need need{5, 4, "EROFS"};
    const auto from = [&](bool used, kernel_need candidate) {
        if (used) need = std::max(need, candidate);
    };
    from(has(incompat_compr_cfgs), {5, 13, "compr_cfgs"});
    from(has(incompat_chunked_file), {5, 15, "chunked_file"});
    from(has(incompat_device_table), {5, 16, devices.empty() ? "compr_head2" : "device_table"});
    from((algorithms & algorithm_lzma) != 0, {5, 16, "lzma"});
    from(has(incompat_ztailpacking), {5, 17, "ztailpacking"});
    from(has(incompat_fragments), {6, 1, packed_nid == 0 ? "dedupe" : "fragments"});
    from(has(incompat_xattr_prefixes), {6, 4, "xattr_prefixes"});
    from(block_bits < page_bits_least, {6, 4, "blocks smaller than a page"});
    from((algorithms & algorithm_deflate) != 0, {6, 6, "deflate"});
    from(block_bits < page_bits_least && algorithms != 0, {6, 8, "compressed blocks smaller than a page"});
    from((algorithms & algorithm_zstd) != 0, {6, 10, "zstd"});
    from(has(incompat_48bit), {6, 15, "48bit"});
    from(has(incompat_metabox), {6, 17, "metabox"});
    return need;
}

}  // namespace nerofs::erofs
