// What the tests of this folder share: bytes in memory, archives made byte by byte or by tar, directories that go away.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "erofs/memory_reader.h"
#include "layer/tar_reader.h"

namespace nerofs::layer::test {

class scratch_directory {
  public:
    scratch_directory() {
        std::string name = std::filesystem::temp_directory_path() / "nerofs-test-XXXXXX";
        if (::mkdtemp(name.data()) == nullptr) throw std::runtime_error("mkdtemp failed");
        path_ = name;
    }
    scratch_directory(const scratch_directory&) = delete;
    scratch_directory& operator=(const scratch_directory&) = delete;
    ~scratch_directory() {
        std::error_code ignored;
        std::filesystem::remove_all(path_, ignored);
    }
    const std::string& path() const { return path_; }

  private:
    std::string path_;
};

inline void run(const std::string& command) {
    if (std::system(command.c_str()) != 0) throw std::runtime_error("failed: " + command);
}

inline std::string file_content(const std::string& path) {
    std::ifstream in(path, std::ios::binary);
    if (!in) throw std::runtime_error("can't read " + path);
    return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

inline std::span<const std::byte> bytes_of(std::string_view text) {
    return std::as_bytes(std::span(text));
}

// A header as ustar has it; fields can be overwritten before sealed() sums it up.
struct header {
    std::string block = std::string(512, '\0');

    explicit header(std::string_view name, char type = '0', std::uint64_t size = 0, std::string_view target = {}) {
        set(0, name.substr(0, 100));
        octal(100, 8, 0644);
        octal(108, 8, 0);
        octal(116, 8, 0);
        octal(124, 12, size);
        octal(136, 12, 1600000000);
        block[156] = type;
        set(157, target);
        set(257, std::string_view("ustar\00000", 8));
    }
    header& set(std::size_t at, std::string_view text) {
        block.replace(at, text.size(), text);
        return *this;
    }
    header& octal(std::size_t at, std::size_t length, std::uint64_t value) {
        char text[24];
        std::snprintf(text, sizeof text, "%0*llo", static_cast<int>(length - 1),
                      static_cast<unsigned long long>(value));
        return set(at, text);
    }
    // With the sum of unsigned bytes, or of signed ones.
    std::string sealed(bool as_signed = false) const {
        std::string out = block;
        out.replace(148, 8, "        ");
        long sum = 0;
        for (const char c : out)
            sum += as_signed ? long{static_cast<signed char>(c)} : long{static_cast<unsigned char>(c)};
        char text[8];
        std::snprintf(text, sizeof text, "%06lo", static_cast<unsigned long>(sum) & 0777777);
        return out.replace(148, 7, text, 7);
    }
};

inline std::string padded(std::string_view data) {
    std::string out(data);
    out.resize((out.size() + 511) / 512 * 512);
    return out;
}

inline std::string record(std::string_view keyword, std::string_view value) {
    const std::size_t rest = keyword.size() + value.size() + 3;
    std::size_t length = rest + 1;
    while (std::to_string(length).size() + rest != length) ++length;
    return std::to_string(length) + " " + std::string(keyword) + "=" + std::string(value) + "\n";
}

inline std::string pax(std::string_view records, char type = 'x') {
    return header("PaxHeaders/x", type, records.size()).sealed() + padded(records);
}

inline std::string gnu_long(char type, std::string_view name) {
    const std::string body = std::string(name) + '\0';
    return header("././@LongLink", type, body.size()).sealed() + padded(body);
}

inline const std::string end_mark(1024, '\0');

struct reading {
    std::vector<tar_entry> entries;
    status outcome;
    bool marked = false;
    std::uint64_t bytes = 0;
};

// All of an archive, in pieces of so many bytes.
inline reading read_tar(std::string_view archive, std::size_t piece = 1 << 20) {
    reading out;
    tar_reader reader([&](tar_entry&& entry) -> status {
        out.entries.push_back(std::move(entry));
        return {};
    });
    for (std::size_t at = 0; at < archive.size() && out.outcome; at += piece) {
        out.outcome = reader.push(bytes_of(archive.substr(at, piece)));
    }
    if (out.outcome) out.outcome = reader.finish();
    out.marked = reader.end_marked();
    out.bytes = reader.archive_bytes();
    return out;
}

}  // namespace nerofs::layer::test
