#include "image.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <stdexcept>

#include "base/checked.h"
#include "support/zstd_file.h"

namespace nerofs::erofs::test {
namespace {

const std::string samples = NEROFS_TEST_DATA "/samples/";

}  // namespace

std::vector<std::string> sample_names() {
    constexpr std::string_view suffix = ".erofs.zst";
    std::vector<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator(samples)) {
        const std::string name = entry.path().filename();
        if (name.ends_with(suffix)) names.push_back(name.substr(0, name.size() - suffix.size()));
    }
    std::sort(names.begin(), names.end());
    return names;
}

bytes sample(const std::string& name) {
    return nerofs::test::read_zstd_file(samples + name + ".erofs.zst");
}

bytes tarindex(const std::string& name) {
    return nerofs::test::read_file(samples + name + ".tarindex");
}

bytes tarindex_with_tar(const std::string& name) {
    const scratch_directory scratch;
    run("gzip -dc '" + samples + name + ".tar.gz' > '" + scratch.path() + "/tar'");
    bytes image = tarindex(name);
    const bytes tar = nerofs::test::read_file(scratch.path() + "/tar");
    image.insert(image.end(), tar.begin(), tar.end());
    return image;
}

bool have_mkfs() {
    static const bool have = std::system("command -v mkfs.erofs >/dev/null 2>&1") == 0;
    return have;
}

bytes mkfs(const std::string& tree, const std::string& options) {
    const scratch_directory scratch;
    const std::string image = scratch.path() + "/image";
    run("mkfs.erofs --quiet " + options + " '" + image + "' '" + tree + "' >/dev/null 2>&1");
    return nerofs::test::read_file(image);
}

status memory_reader::read_exact(std::uint64_t offset, std::span<std::byte> into) {
    if (!range_within<std::uint64_t>(offset, into.size(), content_.size())) {
        return fail(error_kind::corrupt, "read beyond the end");
    }
    if (!into.empty()) std::memcpy(into.data(), content_.data() + offset, into.size());
    read_bytes_ += into.size();
    return {};
}

}  // namespace nerofs::erofs::test
