#include "layer/toc_location.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>

#include "base/checked.h"
#include "codec/stream_decoder.h"
#include "layer/tar_numbers.h"
#include "layer/tar_reader.h"

namespace nerofs::layer {
namespace {

constexpr std::string_view estargz_digest = "containerd.io/snapshot/stargz/toc.digest";
// The names of zstd:chunked's began with the second of these at first.
constexpr std::array<std::string_view, 2> zstd_prefixes = {"io.github.containers.zstd-chunked.",
                                                           "io.containers.zstd-chunked."};
constexpr std::string_view zstd_digest = "manifest-checksum";
constexpr std::string_view zstd_place = "manifest-position";

constexpr std::string_view toc_name = "stargz.index.json";
constexpr std::size_t piece_bytes = std::size_t{1} << 18;

// A gzip member without content, of stored blocks, with one extra field "SG".
constexpr std::string_view footer_magic("\x1f\x8b\x08\x04", 4);
constexpr std::size_t extra_at = 10;
constexpr std::string_view extra_head("\x1a\0SG\x16\0", 6);
constexpr std::size_t digits_at = extra_at + extra_head.size();
constexpr std::size_t digits = 16;
constexpr std::string_view extra_tail = "STARGZ";

tl::unexpected<error> corrupt(std::string_view why) {
    return fail(error_kind::corrupt, fmt::format("table of contents: {}", why));
}

tl::unexpected<error> too_large() {
    return fail(error_kind::unsupported, fmt::format("table of contents: more than {} bytes", max_toc_bytes));
}

result<toc_location> within(const toc_location& where, std::uint64_t blob_bytes) {
    if (where.bytes == 0 || !range_within(where.offset, where.bytes, blob_bytes)) return corrupt("not within the blob");
    if (where.bytes > max_toc_bytes || where.json_bytes > max_toc_bytes) return too_large();
    return where;
}

// All that it decodes to.
result<std::vector<std::byte>> decoded(codec::stream_decoder& decoder, std::span<const std::byte> packed) {
    std::vector<std::byte> out;
    for (;;) {
        const std::size_t made = out.size();
        if (made > max_toc_bytes) return too_large();
        out.resize(made + piece_bytes);
        NEROFS_TRY(const auto step, decoder.decode(packed, std::span(out).subspan(made)));
        packed = packed.subspan(step.taken);
        out.resize(made + step.made);
        if (step.made == 0) break;
    }
    return out;
}

// The file of that name in a tar.
result<std::vector<std::byte>> json_of_tar(std::vector<std::byte> tar) {
    std::uint64_t offset = 0;
    std::optional<std::uint64_t> size;
    tar_reader reader([&](tar_entry&& e) -> status {
        if (e.path != toc_name || e.type != entry_type::regular) return {};
        offset = e.data_offset;
        size = e.size;
        return {};
    });
    NEROFS_CHECK(reader.push(tar));
    if (!size || !range_within<std::uint64_t>(offset, *size, tar.size())) return corrupt("isn't there, or is cut off");
    tar.erase(tar.begin(), tar.begin() + static_cast<std::ptrdiff_t>(offset));
    tar.resize(static_cast<std::size_t>(*size));
    return tar;
}

}  // namespace

std::optional<toc_reference> find_toc(const std::map<std::string, std::string, std::less<>>& annotations,
                                      compression how) {
    const auto value = [&](std::string_view prefix, std::string_view name) -> const std::string* {
        const auto found = annotations.find(std::string(prefix).append(name));
        return found == annotations.end() ? nullptr : &found->second;
    };
    toc_reference found;
    const std::string* digest = nullptr;
    if (how == compression::gzip) {
        digest = value("", estargz_digest);
    } else if (how == compression::zstd) {
        found.kind = toc_kind::zstd_chunked;
        for (const std::string_view prefix : zstd_prefixes) {
            const std::string* const place = value(prefix, zstd_place);
            if (place == nullptr) continue;
            found.place = *place;
            digest = value(prefix, zstd_digest);
            break;
        }
    }
    const auto known = digest == nullptr ? std::nullopt : codec::sha256_named(*digest);
    if (!known) return std::nullopt;
    found.digest = *known;
    return found;
}

result<toc_location> estargz_toc_location(std::span<const std::byte, estargz_footer_bytes> footer,
                                          std::uint64_t blob_bytes) {
    const std::string_view text(reinterpret_cast<const char*>(footer.data()), footer.size());
    const std::string_view number = text.substr(digits_at, digits);
    if (!text.starts_with(footer_magic) || text.substr(extra_at, extra_head.size()) != extra_head ||
        text.substr(digits_at + digits, extra_tail.size()) != extra_tail)
        return corrupt("the blob doesn't end with eStargz' footer");
    toc_location where;
    const auto [end, wrong] = std::from_chars(number.data(), number.data() + number.size(), where.offset, 16);
    if (wrong != std::errc() || end != number.data() + number.size()) return corrupt("its offset isn't a number");
    if (blob_bytes < footer.size() || where.offset >= blob_bytes - footer.size()) return corrupt("not within the blob");
    where.bytes = blob_bytes - footer.size() - where.offset;
    return within(where, blob_bytes);
}

result<toc_location> zstd_toc_location(std::string_view annotation, std::uint64_t blob_bytes) {
    std::array<std::uint64_t, 4> numbers{};
    for (std::uint64_t& number : numbers) {
        const bool last = &number == &numbers.back();
        const std::size_t colon = annotation.find(':');
        const auto value = decimal(annotation.substr(0, colon));
        if (!value || last != (colon == std::string_view::npos)) return corrupt("its place isn't four numbers");
        number = *value;
        if (!last) annotation.remove_prefix(colon + 1);
    }
    if (numbers[3] != 1)
        return fail(error_kind::unsupported, fmt::format("table of contents: type {} is unknown", numbers[3]));
    return within({toc_kind::zstd_chunked, numbers[0], numbers[1], numbers[2]}, blob_bytes);
}

result<std::vector<std::byte>> unpack_toc(const toc_location& where, std::span<const std::byte> packed,
                                          const codec::sha256_digest& digest) {
    const auto right = [&](std::span<const std::byte> bytes) { return codec::sha256::of(bytes) == digest; };
    if (where.kind == toc_kind::zstd_chunked) {
        if (!right(packed)) return corrupt("its digest is wrong");
        NEROFS_TRY(std::vector<std::byte> json, decoded(*codec::decode_zstd(), packed));
        if (json.size() != where.json_bytes) return corrupt("isn't of the size that the annotation says");
        return json;
    }
    NEROFS_TRY(const auto decoder, codec::decode_gzip());
    NEROFS_TRY(std::vector<std::byte> tar, decoded(*decoder, packed));
    NEROFS_TRY(std::vector<std::byte> json, json_of_tar(std::move(tar)));
    if (!right(json)) return corrupt("its digest is wrong");
    return json;
}

}  // namespace nerofs::layer
