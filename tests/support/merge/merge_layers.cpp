// merge_layers [--quiet] OUT TAR...: the tars as the layers of an image, the lowest first, become one EROFS image with
// their data behind its metadata. Prints what that took unless it is to be quiet.
// merge_layers --index OUT TAR: the index of one tar alone, as a layer's is kept.
#include <malloc.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>
#include <vector>

#include "erofs/memory_reader.h"
#include "erofs/writer.h"
#include "layer/marked_tree.h"
#include "layer/merge.h"
#include "layer/tar_reader.h"
#include "layer/tree.h"

namespace {

using namespace nerofs;
using seconds = std::chrono::duration<double>;

[[noreturn]] void die(const std::string& why) {
    std::fprintf(stderr, "merge_layers: %s\n", why.c_str());
    std::exit(1);
}

void check(const status& done, const std::string& what) {
    if (!done) die(what + ": " + done.error().message());
}

struct layer_of_tar {
    std::string tar;
    std::vector<std::byte> index;
    std::vector<layer::tree::unresolved_link> links;
};

layer_of_tar read_layer(const std::string& path) {
    std::ifstream in(path, std::ios::binary);
    if (!in) die(path + ": can't be read");
    layer_of_tar out;
    out.tar.assign(std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>());
    layer::tree_options options;
    options.whiteouts = layer::whiteout_mode::as_marks;
    options.keep_unresolved = true;
    layer::tree members(options);
    layer::tar_reader reader([&](layer::tar_entry&& e) { return members.add(std::move(e)); });
    check(reader.push(std::as_bytes(std::span(out.tar))), path);
    check(reader.finish(), path);
    check(members.finish(), path);
    auto index = erofs::write_index(layer::marked_tree(members), out.tar.size());
    if (!index) die(path + ": " + index.error().message());
    out.index = std::move(index->bytes);
    out.links = members.unresolved();
    return out;
}

void write_bytes(std::ofstream& out, std::span<const std::byte> bytes) {
    out.write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
}

void write_image(const std::string& path, const erofs::index_image& image, const std::vector<layer_of_tar>& layers) {
    std::ofstream out(path, std::ios::binary);
    write_bytes(out, image.bytes);
    const std::string zeros(512, '\0');
    for (const layer_of_tar& l : layers) {
        out << l.tar;
        out.write(zeros.data(), static_cast<std::streamsize>((512 - l.tar.size() % 512) % 512));
    }
    if (!out.flush()) die(path + ": can't be written");
}

}  // namespace

int main(int argc, char** argv) {
    std::vector<std::string> args(argv + 1, argv + argc);
    if (args.size() == 3 && args[0] == "--index") {
        std::ofstream out(args[1], std::ios::binary);
        write_bytes(out, read_layer(args[2]).index);
        return 0;
    }
    const bool quiet = !args.empty() && args[0] == "--quiet";
    if (quiet) args.erase(args.begin());
    if (args.empty()) die("usage: merge_layers [--quiet] OUT TAR...");
    std::vector<layer_of_tar> layers;
    for (std::size_t i = 1; i < args.size(); ++i) layers.push_back(read_layer(args[i]));

    const std::size_t before = ::mallinfo2().uordblks;
    const auto start = std::chrono::steady_clock::now();
    layer::merged_tree merged;
    for (const layer_of_tar& l : layers) {
        erofs::memory_reader index(l.index);
        check(merged.add(index, index.size(), l.links), "merge");
    }
    const auto end = std::chrono::steady_clock::now();
    const std::size_t after = ::mallinfo2().uordblks;
    const auto image = erofs::write_index(merged, merged.devices());
    if (!image) die("write: " + image.error().message());
    const auto written = std::chrono::steady_clock::now();
    write_image(args[0], *image, layers);
    if (!quiet) {
        std::printf("%llu inodes of %u: merged in %.3f s, %zu bytes a node; written in %.3f s, %zu bytes\n",
                    static_cast<unsigned long long>(image->inodes), merged.inodes(), seconds(end - start).count(),
                    (after - before) / merged.inodes(), seconds(written - end).count(), image->bytes.size());
    }
    return 0;
}
