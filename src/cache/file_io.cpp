#include "cache/file_io.h"

#include <unistd.h>

#include <cerrno>

#include "base/fault.h"

namespace nerofs::cache {
namespace {

class system_io final : public file_io {
  public:
    ssize_t write_at(fd_ref file, std::span<const std::byte> bytes, std::uint64_t offset) override {
        return ::pwrite(file.get(), bytes.data(), bytes.size(), static_cast<off_t>(offset));
    }
    int sync(fd_ref file) override { return ::fdatasync(file.get()); }
};

}  // namespace

file_io& file_io::system() {
    static system_io instance;
    return instance;
}

status write_fully(file_io& io, fd_ref file, std::span<const std::byte> bytes, std::uint64_t offset) {
    while (!bytes.empty()) {
        if (const int code = fault::point("cache.write")) return fail(errno_error(code, "write"));
        const ssize_t n = io.write_at(file, bytes.first(fault::limit("cache.write", bytes.size())), offset);
        if (n < 0) {
            if (errno == EINTR) continue;
            return fail_errno("write");
        }
        if (n == 0) return fail(errno_error(EIO, "write"));
        bytes = bytes.subspan(static_cast<std::size_t>(n));
        offset += static_cast<std::uint64_t>(n);
    }
    return {};
}

bool is_out_of_space(const error& e) {
    return e.code == ENOSPC || e.code == EDQUOT;
}

}  // namespace nerofs::cache
