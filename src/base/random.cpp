// src/base/random.cpp -- getrandom(2), and /dev/urandom for kernels and sandboxes without it.
#include "src/base/random.h"

#include <fcntl.h>
#include <sys/random.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>

namespace sidepool {

namespace {
bool from_device(std::span<std::uint8_t> out) noexcept {
  const int fd = ::open("/dev/urandom", O_RDONLY | O_CLOEXEC);
  if (fd < 0) return false;
  while (!out.empty()) {
    const auto n = ::read(fd, out.data(), out.size());
    if (n > 0) {
      out = out.subspan(static_cast<std::size_t>(n));
    } else if (n == 0 || errno != EINTR) {
      break;
    }
  }
  ::close(fd);
  return out.empty();
}
}  // namespace

void fill_random(std::span<std::uint8_t> out) noexcept {
  while (!out.empty()) {
    const auto n = ::getrandom(out.data(), out.size(), 0);
    if (n > 0) {
      out = out.subspan(static_cast<std::size_t>(n));
    } else if (errno != EINTR) {
      if (!from_device(out)) std::abort();
      return;
    }
  }
}

double random_unit() noexcept {
  std::array<std::uint8_t, 8> bytes;
  fill_random(bytes);
  std::uint64_t v = 0;
  std::memcpy(&v, bytes.data(), sizeof v);
  return static_cast<double>(v >> 11) * 0x1.0p-53;
}

}  // namespace sidepool
