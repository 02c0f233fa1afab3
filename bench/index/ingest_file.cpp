// One layer through layer_ingest, from a file or standard input: prints what came of it.
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "layer/ingest.h"

namespace {

constexpr std::size_t piece_bytes = std::size_t{256} << 10;  // some bodies' worth

int usage() {
    std::fputs("Usage: ingest_file [--threads N] [--index FILE] <LAYER\n", stderr);
    return 2;
}

}  // namespace

int main(int argc, char** argv) {
    nerofs::layer::ingest_options options;
    const char* index_path = nullptr;
    for (int i = 1; i < argc; i += 2) {
        const std::string_view option = argv[i];
        if (i + 1 == argc) return usage();
        if (option == "--threads") {
            options.hash_threads = static_cast<unsigned>(std::strtoul(argv[i + 1], nullptr, 10));
        } else if (option == "--index") {
            index_path = argv[i + 1];
        } else {
            return usage();
        }
    }
    nerofs::layer::layer_ingest ingest(std::move(options));
    std::vector<std::byte> piece(piece_bytes);
    while (const std::size_t got = std::fread(piece.data(), 1, piece.size(), stdin)) {
        if (const auto pushed = ingest.push(std::span(piece).first(got)); !pushed) {
            std::fprintf(stderr, "ingest_file: %s\n", pushed.error().message().c_str());
            return 1;
        }
    }
    const auto index = ingest.finish();
    if (!index) {
        std::fprintf(stderr, "ingest_file: %s\n", index.error().message().c_str());
        return 1;
    }
    const auto file = index->encode();
    if (!file) {
        std::fprintf(stderr, "ingest_file: %s\n", file.error().message().c_str());
        return 1;
    }
    if (index_path != nullptr) {
        std::FILE* out = std::fopen(index_path, "wb");
        if (out == nullptr || std::fwrite(file->data(), 1, file->size(), out) != file->size() ||
            std::fclose(out) != 0) {
            std::perror(index_path);
            return 1;
        }
    }
    std::size_t windows = 0;
    for (const auto& c : index->checkpoints) windows += c.window.size();
    std::printf("content %llu stored %llu index %zu windows %zu checkpoints %zu tarindex %zu\n",
                static_cast<unsigned long long>(index->content_bytes),
                static_cast<unsigned long long>(index->stored_bytes), file->size(), windows, index->checkpoints.size(),
                index->tarindex.size());
    return 0;
}
