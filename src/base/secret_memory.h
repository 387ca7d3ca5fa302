// src/base/secret_memory.h -- passwords and keys that live longer than a login.
#pragma once
#include <cstdint>
#include <span>
#include <string_view>
#include <utility>

namespace sidepool {

// Bytes in pages of their own: locked (not swapped) where RLIMIT_MEMLOCK allows, left out of core dumps and
// of forked children, wiped when dropped. Costs at least one page, so it is for the few secrets that are
// kept, not for those that pass through. Move-only, and never printed. One thread at a time.
class SecretMemory {
 public:
  SecretMemory() noexcept = default;
  // REQUIRES: the caller wipes its own copy of `bytes`. Throws std::bad_alloc when the system has no memory.
  explicit SecretMemory(std::span<const std::uint8_t> bytes);
  explicit SecretMemory(std::string_view text)
      : SecretMemory(std::span{reinterpret_cast<const std::uint8_t*>(text.data()), text.size()}) {}
  SecretMemory(SecretMemory&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}
  SecretMemory& operator=(SecretMemory&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    return *this;
  }
  ~SecretMemory();

  bool empty() const noexcept { return size_ == 0; }
  // Valid until the object is moved or dropped.
  std::span<const std::uint8_t> bytes() const noexcept { return {data_, size_}; }
  std::string_view text() const noexcept { return {reinterpret_cast<const char*>(data_), size_}; }

 private:
  std::uint8_t* data_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace sidepool
