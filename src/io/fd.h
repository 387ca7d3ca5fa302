// src/io/fd.h -- an owned file descriptor.
#pragma once
#include <unistd.h>

#include <utility>

namespace sidepool::io {

// Closes on destruction. REQUIRES: no watch is on the fd when it is closed (FdWatch::stop() first; libuv
// would go on watching whatever gets the number next).
class Fd {
 public:
  Fd() noexcept = default;
  explicit Fd(int fd) noexcept : fd_(fd) {}
  Fd(Fd&& other) noexcept : fd_(other.release()) {}
  Fd& operator=(Fd&& other) noexcept {
    if (this != &other) reset(other.release());
    return *this;
  }
  ~Fd() { reset(); }

  int get() const noexcept { return fd_; }
  explicit operator bool() const noexcept { return fd_ >= 0; }
  int release() noexcept { return std::exchange(fd_, -1); }
  void reset(int fd = -1) noexcept {
    const int old = std::exchange(fd_, fd);
    if (old >= 0) ::close(old);  // never retried: on Linux the number is free even after EINTR
  }

 private:
  int fd_ = -1;
};

}  // namespace sidepool::io
