// Whole images: no input may crash the reader, make it go on for ever or read outside what it was given, and what a
// walk finds by listing must be found by its path.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/checked.h"
#include "erofs/reader.h"
#include "erofs/tree.h"
#include "require.h"

namespace {

using namespace nerofs;
using namespace nerofs::fuzz;

// Enough for every input of interest to end by itself, and few enough for thousands of runs a second.
constexpr std::uint64_t names_a_run = 500;
constexpr std::uint64_t bytes_a_file = 3000;
constexpr std::uint64_t reads_a_run = 200000;

class input_reader final : public erofs::byte_reader {
  public:
    explicit input_reader(std::span<const std::byte> input) : input_(input) {}
    status read_exact(std::uint64_t offset, std::span<std::byte> into) override {
        require(++reads_ < reads_a_run);
        if (!range_within<std::uint64_t>(offset, into.size(), input_.size()))
            return fail(error_kind::corrupt, "beyond the end");
        if (!into.empty()) std::memcpy(into.data(), input_.data() + offset, into.size());
        return {};
    }

  private:
    std::span<const std::byte> input_;
    std::uint64_t reads_ = 0;
};

void look_at(erofs::reader& image, std::string_view path, const erofs::inode& i) {
    check_error(image.xattrs(i));
    if (i.type == erofs::file_type::symlink) check_error(image.read_link(i));
    std::vector<std::byte> buffer(bytes_a_file);
    for (const std::uint64_t offset : {std::uint64_t{0}, i.size / 2, i.size - std::min<std::uint64_t>(i.size, 5)}) {
        const auto got = image.read(i, offset, buffer);
        check_error(got);
        if (got) require(*got == std::min<std::uint64_t>(buffer.size(), i.size - offset));
        if (offset < i.size) {
            const auto where = image.map(i, offset);
            check_error(where);
            if (where) require(where->length > 0 && where->length <= i.size - offset);
        }
    }
    if (i.type == erofs::file_type::symlink && !path.empty()) check_error(erofs::resolve(image, path));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::span input(reinterpret_cast<const std::byte*>(data), size);
    for (const bool with_device : {false, true}) {
        input_reader primary(input);
        input_reader device(input.subspan(size / 2));
        std::vector<erofs::byte_reader*> devices;
        if (with_device) devices.push_back(&device);
        auto image = erofs::reader::open(primary, size, devices);
        check_error(image);
        if (!image) continue;
        std::vector<std::pair<std::string, std::uint64_t>> found;
        const auto walked = erofs::walk(*image,
                                        [&](std::string_view path, const erofs::inode& i) -> status {
                                            look_at(*image, path, i);
                                            if (!path.empty()) found.emplace_back(path, i.nid);
                                            return {};
                                        },
                                        {names_a_run, 4000});
        check_error(walked);
        if (!walked) continue;  // damage elsewhere in a directory may hide a name from a lookup
        for (const auto& [path, nid] : found) {
            const auto again = erofs::resolve(*image, path, erofs::last_symlink::keep);
            require(again && again->nid == nid);
        }
    }
    return 0;
}
