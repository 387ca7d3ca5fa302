// src/base/secret_memory.cpp -- mmap, mlock, madvise; everything but the mmap is best effort (a sandbox may
// refuse).
#include "src/base/secret_memory.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cstring>
#include <new>

namespace sidepool {

namespace {
std::size_t whole_pages(std::size_t size) noexcept {
  const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  return (size + page - 1) / page * page;
}
}  // namespace

SecretMemory::SecretMemory(std::span<const std::uint8_t> bytes) : size_(bytes.size()) {
  if (bytes.empty()) return;
  const auto room = whole_pages(size_);
  const auto map = [room] {
    return ::mmap(nullptr, room, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  };
  void* p = map();
  for (; p == MAP_FAILED; p = map()) {  // as `new` does
    const auto handler = std::get_new_handler();
    if (!handler) throw std::bad_alloc();
    handler();
  }
  (void)::mlock(p, room);
  (void)::madvise(p, room, MADV_DONTDUMP);
  (void)::madvise(p, room, MADV_DONTFORK);
  data_ = static_cast<std::uint8_t*>(p);
  std::memcpy(data_, bytes.data(), size_);
}

SecretMemory::~SecretMemory() {
  if (!data_) return;
  ::explicit_bzero(data_, size_);
  ::munmap(data_, whole_pages(size_));
}

}  // namespace sidepool
