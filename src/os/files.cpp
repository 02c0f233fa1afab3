#include "os/files.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <cstdlib>
#include <filesystem>
#include <memory>

namespace nerofs::os {
namespace {

std::string in_quotes(const std::string& path) {
    return "'" + path + "'";
}

status write_all(fd_ref file, std::string_view content) {
    while (!content.empty()) {
        const ssize_t n = ::write(file.get(), content.data(), content.size());
        if (n < 0) {
            if (errno == EINTR) continue;
            return fail_errno("write");
        }
        content.remove_prefix(static_cast<std::size_t>(n));
    }
    return {};
}

}  // namespace

result<unique_fd> open_file(const std::string& path, int flags, mode_t mode) {
    unique_fd file(::open(path.c_str(), flags | O_CLOEXEC, mode));
    if (!file) return fail_errno("open " + in_quotes(path));
    return file;
}

result<std::string> read_small_file(const std::string& path, std::size_t most) {
    NEROFS_TRY(const unique_fd file, open_file(path, O_RDONLY));
    std::string content(most + 1, '\0');
    std::size_t size = 0;
    while (size < content.size()) {
        const ssize_t n = ::read(file.get(), content.data() + size, content.size() - size);
        if (n < 0) {
            if (errno == EINTR) continue;
            return fail_errno("read " + in_quotes(path));
        }
        if (n == 0) break;
        size += static_cast<std::size_t>(n);
    }
    if (size > most)
        return fail(error_kind::corrupt, in_quotes(path) + " is larger than " + std::to_string(most) + " bytes");
    content.resize(size);
    return content;
}

result<std::string> read_attribute(const std::string& path) {
    NEROFS_TRY(std::string text, read_small_file(path));
    if (!text.empty() && text.back() == '\n') text.pop_back();
    return text;
}

status write_file_atomically(const std::string& path, std::string_view content) {
    const std::string directory = path.substr(0, path.rfind('/') + 1);
    std::string temporary = path + ".XXXXXX";
    unique_fd file(::mkostemp(temporary.data(), O_CLOEXEC));  // mode 0600
    if (!file) return fail_errno("create " + in_quotes(temporary));
    status done = write_all(file, content);
    if (done && ::fsync(file.get()) != 0) done = fail_errno("fsync");
    if (done && ::rename(temporary.c_str(), path.c_str()) != 0) done = fail_errno("rename to");
    if (!done) {
        ::unlink(temporary.c_str());
        return fail(std::move(done).error().in("write " + in_quotes(path)));
    }
    NEROFS_TRY(const unique_fd parent, open_file(directory.empty() ? "." : directory, O_RDONLY | O_DIRECTORY));
    if (::fsync(parent.get()) != 0) return fail_errno("fsync " + in_quotes(directory));
    return {};
}

status pread_exact(fd_ref file, std::span<std::byte> into, std::uint64_t offset) {
    while (!into.empty()) {
        const ssize_t n = ::pread(file.get(), into.data(), into.size(), static_cast<off_t>(offset));
        if (n < 0) {
            if (errno == EINTR) continue;
            return fail_errno("read");
        }
        if (n == 0) return fail(error_kind::corrupt, "the file ends at byte " + std::to_string(offset), EIO);
        into = into.subspan(static_cast<std::size_t>(n));
        offset += static_cast<std::uint64_t>(n);
    }
    return {};
}

status make_directories(const std::string& path, mode_t mode) {
    for (std::size_t slash = path.find('/', 1);; slash = path.find('/', slash + 1)) {
        const std::string part = path.substr(0, slash);
        if (::mkdir(part.c_str(), mode) != 0 && errno != EEXIST) return fail_errno("mkdir " + in_quotes(part));
        if (slash == std::string::npos) break;
    }
    struct stat found {};
    if (::stat(path.c_str(), &found) != 0) return fail_errno(in_quotes(path));
    if (!S_ISDIR(found.st_mode)) return fail(errno_error(ENOTDIR, in_quotes(path)));
    return {};
}

result<unique_fd> lock_directory(const std::string& path) {
    NEROFS_TRY(unique_fd directory, open_file(path, O_RDONLY | O_DIRECTORY));
    while (::flock(directory.get(), LOCK_EX) != 0)
        if (errno != EINTR) return fail_errno("lock " + in_quotes(path));
    return directory;
}

std::string spelled_out(const std::string& path) {
    std::filesystem::path text(path);
    if (text.is_relative()) {
        char current[PATH_MAX];
        if (::getcwd(current, sizeof current)) text = std::filesystem::path(current) / text;
    }
    std::string spelled = text.lexically_normal().string();
    while (spelled.size() > 1 && spelled.back() == '/') spelled.pop_back();
    return spelled;
}

result<std::string> real_path(const std::string& path) {
    const std::unique_ptr<char, decltype(&std::free)> resolved(::realpath(path.c_str(), nullptr), &std::free);
    if (!resolved) return fail_errno(in_quotes(path));
    return std::string(resolved.get());
}

std::string program_directory() {
    char path[PATH_MAX];
    const ssize_t size = ::readlink("/proc/self/exe", path, sizeof path);
    if (size <= 0) return ".";
    const std::string_view text(path, static_cast<std::size_t>(size));
    return std::string(text.substr(0, text.rfind('/')));
}

}  // namespace nerofs::os
