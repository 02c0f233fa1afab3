#include "support/layer_samples.h"

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <random>
#include <stdexcept>

#include "support/scratch_directory.h"
#include "support/zstd_file.h"

namespace nerofs::test {
namespace {

namespace fs = std::filesystem;

void write_file(const fs::path& path, const char* bytes, std::size_t size) {
    std::ofstream out(path, std::ios::binary);
    out.write(bytes, static_cast<std::streamsize>(size));
    if (!out.flush()) throw std::runtime_error("can't write " + path.string());
}

std::string text(std::size_t size, unsigned seed) {
    static const char* const words[] = {"layer",      "unit", "window", "of",      "a",
                                        "checkpoint", "the",  "stream", "begins\n"};
    std::minstd_rand random(seed);
    std::string out;
    while (out.size() < size) (out += words[random() % std::size(words)]) += random() % 7 == 0 ? '\n' : ' ';
    out.resize(size);
    return out;
}

std::string noise(std::size_t size) {
    std::mt19937 random(3);
    std::string out(size, '\0');
    for (char& c : out) c = static_cast<char>(random());
    return out;
}

std::vector<std::byte> make_tar() {
    const scratch_directory here;
    const fs::path tree = here.path() + "/tree";
    fs::create_directories(tree / "small");
    const auto put = [&](const std::string& name, const std::string& content) {
        write_file(tree / name, content.data(), content.size());
    };
    put("a-text", text(3'300'000, 1));
    put("b-noise", noise(2'100'000));
    put("c-zeros", std::string(1'500'000, '\0'));
    for (unsigned i = 0; i < 400; ++i) put("small/" + std::to_string(i), text(10 + i * 7, i));
    put("z-text", text(1'000'001, 2));
    const std::string tar = here.path() + "/tar";
    run("tar -C '" + tree.string() + "' --sort=name --owner=0 --group=0 --mtime=@1600000000 -cf '" + tar + "' .");
    return read_file(tar);
}

}  // namespace

std::vector<std::byte> filtered(const std::string& command, std::span<const std::byte> input) {
    const scratch_directory here;
    const std::string in = here.path() + "/in";
    const std::string out = here.path() + "/out";
    write_file(in, reinterpret_cast<const char*>(input.data()), input.size());
    run("{ " + command + "; } <'" + in + "' >'" + out + "'");
    return read_file(out);
}

bool has_command(const std::string& name) {
    return std::system(("command -v " + name + " >/dev/null").c_str()) == 0;
}

const std::vector<std::byte>& sample_tar() {
    static const std::vector<std::byte> made = make_tar();
    return made;
}

std::vector<std::byte> zstd_frames(std::span<const std::byte> content, std::size_t bytes_each) {
    std::vector<std::byte> out;
    while (!content.empty()) {
        const auto now = content.first(std::min(content.size(), bytes_each));
        const auto frame = filtered("zstd -q -c", now);
        out.insert(out.end(), frame.begin(), frame.end());
        content = content.subspan(now.size());
    }
    return out;
}

}  // namespace nerofs::test
