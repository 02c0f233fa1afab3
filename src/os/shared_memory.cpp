#include "os/shared_memory.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <utility>

namespace nerofs::os {

mapping::mapping(mapping&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}

mapping& mapping::operator=(mapping&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    return *this;
}

mapping::~mapping() {
    if (data_) ::munmap(data_, size_);
}

result<mapping> mapping::map(fd_ref file, std::size_t size, bool writable) {
    void* data = ::mmap(nullptr, size, writable ? PROT_READ | PROT_WRITE : PROT_READ, MAP_SHARED, file.get(), 0);
    if (data == MAP_FAILED) return fail_errno("mmap");
    mapping m;
    m.data_ = data;
    m.size_ = size;
    return m;
}

result<unique_fd> make_memfd(const char* name, std::size_t size) {
    unique_fd memory(::memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING));
    if (!memory) return fail_errno("memfd_create");
    if (::ftruncate(memory.get(), static_cast<off_t>(size)) != 0) return fail_errno("ftruncate");
    if (::fcntl(memory.get(), F_ADD_SEALS, F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL) != 0) return fail_errno("seal");
    return memory;
}

result<std::uint64_t> file_size(fd_ref file) {
    const off_t end = ::lseek(file.get(), 0, SEEK_END);  // right for block devices, too, whose st_size is 0
    if (end < 0) return fail_errno("size");
    return static_cast<std::uint64_t>(end);
}

}  // namespace nerofs::os
