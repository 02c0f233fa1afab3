// Ownership of file descriptors: unique_fd owns, fd_ref borrows. No raw int appears in an interface.
#pragma once

#include <utility>

namespace nerofs {

// A borrowed descriptor; whoever made it keeps it open for as long as it is used.
class fd_ref {
  public:
    constexpr fd_ref() = default;
    constexpr explicit fd_ref(int fd) : fd_(fd) {}
    constexpr int get() const { return fd_; }
    constexpr explicit operator bool() const { return fd_ >= 0; }
    friend constexpr bool operator==(fd_ref, fd_ref) = default;

  private:
    int fd_ = -1;
};

// Closes its descriptor when it goes. Taken by value, given by return.
class unique_fd {
  public:
    unique_fd() = default;
    explicit unique_fd(int fd) : fd_(fd) {}
    unique_fd(unique_fd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
    unique_fd& operator=(unique_fd&& other) noexcept {
        if (this != &other) reset(std::exchange(other.fd_, -1));
        return *this;
    }
    ~unique_fd() { reset(); }

    int get() const { return fd_; }
    explicit operator bool() const { return fd_ >= 0; }
    operator fd_ref() const { return fd_ref(fd_); }  // NOLINT: borrowing is what it is for
    int release() { return std::exchange(fd_, -1); }
    void reset(int fd = -1);

  private:
    int fd_ = -1;
};

// Another descriptor of the same file, above stderr; none of none, or when there is no room for more.
unique_fd duplicate(fd_ref fd);

}  // namespace nerofs
