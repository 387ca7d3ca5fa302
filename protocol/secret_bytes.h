// protocol/secret_bytes.h -- keys and passwords that wipe themselves, and their comparison.
#pragma once
#include <array>
#include <cstdint>
#include <string_view>
#include <vector>

#include "protocol/bytes.h"

namespace sidepool::protocol {

// Overwrites in a way the compiler may not leave out.
void wipe(void* p, std::size_t n) noexcept;
inline void wipe(Buffer& b) noexcept { wipe(b.data(), b.size()); }

// Takes the same time wherever equally long inputs differ. A difference in length shows; lengths are no
// secret here.
bool equal_secret(Bytes a, Bytes b) noexcept;
inline bool equal_secret(std::string_view a, std::string_view b) noexcept {
  return equal_secret(as_bytes(a), as_bytes(b));
}

// A key of 32 bytes (SHA-256). Copies are allowed; each wipes itself.
class SecretKey {
 public:
  static constexpr std::size_t kSize = 32;

  SecretKey() noexcept = default;
  // REQUIRES: `b` has kSize bytes.
  explicit SecretKey(std::span<const std::uint8_t, kSize> b) noexcept {
    std::memcpy(bytes_.data(), b.data(), kSize);
  }
  SecretKey(const SecretKey&) noexcept = default;
  SecretKey& operator=(const SecretKey&) noexcept = default;
  ~SecretKey() { wipe(bytes_.data(), kSize); }

  std::uint8_t* data() noexcept { return bytes_.data(); }
  Bytes bytes() const noexcept { return bytes_; }
  friend bool operator==(const SecretKey& a, const SecretKey& b) noexcept {
    return equal_secret(a.bytes_, b.bytes_);
  }

 private:
  std::array<std::uint8_t, kSize> bytes_{};
};

// A text made in one piece, never grown, so that no copy stays behind in freed memory. Moves, does not copy.
class SecretText {
 public:
  SecretText() noexcept = default;
  explicit SecretText(std::string_view s) : chars_(s.begin(), s.end()) {}
  SecretText(SecretText&& o) noexcept = default;
  SecretText& operator=(SecretText&& o) noexcept {
    clear();
    chars_.swap(o.chars_);
    return *this;
  }
  SecretText(const SecretText&) = delete;
  SecretText& operator=(const SecretText&) = delete;
  ~SecretText() { clear(); }

  // Valid until the text is moved from, assigned to or destroyed.
  std::string_view view() const noexcept { return {chars_.data(), chars_.size()}; }
  bool empty() const noexcept { return chars_.empty(); }
  void clear() noexcept {
    wipe(chars_.data(), chars_.size());
    chars_.clear();
  }

 private:
  std::vector<char> chars_;
};

}  // namespace sidepool::protocol
