// conf/secret.h -- passwords and tokens: text that is never printed and is wiped when it is dropped.
#pragma once
#include <atomic>
#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

namespace sidepool::conf {

// Overwrites `size` bytes in a way that the compiler must keep. (conf may not use libcrypto.)
inline void wipe(void* bytes, std::size_t size) noexcept {
  auto* p = static_cast<volatile unsigned char*>(bytes);
  for (std::size_t i = 0; i < size; ++i) p[i] = 0;
  std::atomic_signal_fence(std::memory_order_seq_cst);
}

// A value; copies are independent and each wipes itself. There is no operator<< and no conversion: reveal()
// is the only way to the text. The bytes have a block of their own, because a short std::string would leave
// its text behind when it is moved.
class Secret {
 public:
  Secret() = default;
  explicit Secret(std::string_view text)
      : bytes_(text.empty() ? nullptr : new char[text.size()]), size_(text.size()) {
    text.copy(bytes_.get(), size_);
  }
  Secret(const Secret& other) : Secret(other.reveal()) {}
  Secret(Secret&& other) noexcept : bytes_(std::move(other.bytes_)), size_(std::exchange(other.size_, 0)) {}
  Secret& operator=(Secret other) noexcept {
    bytes_.swap(other.bytes_);
    std::swap(size_, other.size_);
    return *this;
  }
  ~Secret() { wipe(bytes_.get(), size_); }

  bool empty() const noexcept { return size_ == 0; }
  // Borrowed: valid while this object is neither changed nor destroyed.
  std::string_view reveal() const noexcept { return {bytes_.get(), size_}; }

  // Takes a time that depends on the lengths only.
  friend bool operator==(const Secret& a, const Secret& b) noexcept {
    if (a.size_ != b.size_) return false;
    unsigned char difference = 0;
    for (std::size_t i = 0; i < a.size_; ++i) {
      difference = static_cast<unsigned char>(difference | (a.bytes_[i] ^ b.bytes_[i]));
    }
    return difference == 0;
  }

 private:
  std::unique_ptr<char[]> bytes_;
  std::size_t size_ = 0;
};

}  // namespace sidepool::conf
