// src/base/memory_reserve.cpp -- see memory_reserve.h.
#include "src/base/memory_reserve.h"

#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <new>

namespace sidepool {

namespace {

// Mappings, since what malloc() gets back it may keep for the arena of one thread. Many, since several
// threads may run out at once.
constexpr std::size_t kPiece = std::size_t{512} * 1024;
std::array<std::atomic<void*>, 16> reserve{};

void give_out() {
  for (auto& piece : reserve) {
    if (void* p = piece.exchange(nullptr)) return void(::munmap(p, kPiece));
  }
  throw std::bad_alloc();
}

}  // namespace

void keep_memory_reserve() noexcept {
  refill_memory_reserve();
  std::set_new_handler(give_out);
}

bool memory_is_short() noexcept {
  return std::any_of(reserve.begin(), reserve.end(), [](const auto& piece) { return !piece.load(); });
}

void refill_memory_reserve() noexcept {
  for (auto& piece : reserve) {
    if (piece.load()) continue;
    void* p =
        ::mmap(nullptr, kPiece, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);  // never touched
    if (p != MAP_FAILED) piece = p;
  }
}

}  // namespace sidepool
