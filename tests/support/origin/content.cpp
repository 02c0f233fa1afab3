#include "support/origin/content.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <system_error>
#include <vector>

#include "codec/hex.h"
#include "codec/sha256.h"

namespace nerofs::test {

content::content(std::string bytes)
    : size_(bytes.size()), memory_(std::make_shared<const std::string>(std::move(bytes))) {}

content content::of_file(const std::string& path) {
    unique_fd file(open(path.c_str(), O_RDONLY | O_CLOEXEC));
    struct stat st {};
    if (!file || fstat(file.get(), &st) != 0) throw std::system_error(errno, std::generic_category(), path);
    content c;
    c.size_ = static_cast<std::uint64_t>(st.st_size);
    c.file_ = std::make_shared<const unique_fd>(std::move(file));
    return c;
}

void content::read(std::uint64_t offset, std::span<std::byte> into) const {
    if (memory_) {
        std::memcpy(into.data(), memory_->data() + offset, into.size());
        return;
    }
    while (!into.empty()) {
        const ssize_t n = pread(file_->get(), into.data(), into.size(), static_cast<off_t>(offset));
        if (n <= 0) throw std::system_error(n < 0 ? errno : EIO, std::generic_category(), "pread");
        into = into.subspan(static_cast<std::size_t>(n));
        offset += static_cast<std::uint64_t>(n);
    }
}

std::string content::digest() const {
    codec::sha256 hash;
    std::vector<std::byte> buffer(1 << 20);
    for (std::uint64_t at = 0; at < size_;) {
        const auto n = std::min<std::uint64_t>(buffer.size(), size_ - at);
        const auto part = std::span(buffer).first(n);
        read(at, part);
        hash.update(part);
        at += n;
    }
    return "sha256:" + codec::to_hex(hash.finish());
}

}  // namespace nerofs::test
