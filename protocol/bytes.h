// protocol/bytes.h -- borrowed bytes, big-endian integers, and a cursor over one message body.
#pragma once
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>
#include <vector>

namespace sidepool::protocol {

using Bytes = std::span<const std::uint8_t>;
// Grows to its working size once and is cleared, not freed, between uses.
using Buffer = std::vector<std::uint8_t>;

inline Bytes as_bytes(std::string_view s) noexcept {
  return {reinterpret_cast<const std::uint8_t*>(s.data()), s.size()};
}
inline std::string_view as_text(Bytes b) noexcept {
  return {reinterpret_cast<const char*>(b.data()), b.size()};
}

// In one copy, which inserting chars would not be.
inline void append(Buffer& out, std::string_view s) {
  const auto bytes = as_bytes(s);
  out.insert(out.end(), bytes.begin(), bytes.end());
}

inline std::uint16_t load_be16(const std::uint8_t* p) noexcept {
  return static_cast<std::uint16_t>(p[0] << 8 | p[1]);
}
inline std::uint32_t load_be32(const std::uint8_t* p) noexcept {
  return std::uint32_t{p[0]} << 24 | std::uint32_t{p[1]} << 16 | std::uint32_t{p[2]} << 8 | p[3];
}
inline void store_be32(std::uint8_t* p, std::uint32_t v) noexcept {
  p[0] = static_cast<std::uint8_t>(v >> 24), p[1] = static_cast<std::uint8_t>(v >> 16);
  p[2] = static_cast<std::uint8_t>(v >> 8), p[3] = static_cast<std::uint8_t>(v);
}

// Cursor over one complete body. A short read makes every later read fail, so a decoder checks done() once.
// What it returns borrows from the body.
class Reader {
 public:
  explicit Reader(Bytes b) noexcept : b_(b) {}

  std::uint8_t u8() noexcept {
    const auto* p = take(1);
    return p ? *p : std::uint8_t{0};
  }
  std::uint16_t u16() noexcept {
    const auto* p = take(2);
    return p ? load_be16(p) : std::uint16_t{0};
  }
  std::uint32_t u32() noexcept {
    const auto* p = take(4);
    return p ? load_be32(p) : 0;
  }
  // A string up to its terminating zero, which is consumed and not part of the result.
  std::string_view cstr() noexcept {
    const void* z = ok_ && !b_.empty() ? std::memchr(b_.data(), 0, b_.size()) : nullptr;
    if (!z) {
      ok_ = false;
      return {};
    }
    const auto n = static_cast<std::size_t>(static_cast<const std::uint8_t*>(z) - b_.data());
    const std::string_view s{reinterpret_cast<const char*>(b_.data()), n};
    b_ = b_.subspan(n + 1);
    return s;
  }
  Bytes bytes(std::size_t n) noexcept {
    const auto* p = take(n);
    return p ? Bytes{p, n} : Bytes{};
  }
  Bytes rest() noexcept { return bytes(ok_ ? b_.size() : 0); }
  bool ok() const noexcept { return ok_; }
  bool done() const noexcept { return ok_ && b_.empty(); }

 private:
  const std::uint8_t* take(std::size_t n) noexcept {
    if (!ok_ || b_.size() < n) {
      ok_ = false;
      return nullptr;
    }
    const auto* p = b_.data();
    b_ = b_.subspan(n);
    return p;
  }

  Bytes b_;
  bool ok_ = true;
};

}  // namespace sidepool::protocol
