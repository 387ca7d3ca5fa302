// tests/fuzz/input.h -- one input taken apart: small numbers from the front, and the rest cut into pieces.
#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace sidepool::test {

class FuzzInput {
 public:
  FuzzInput(const std::uint8_t* data, std::size_t size) noexcept : left_(data, size) {}

  // Zero when there is nothing left.
  std::uint8_t byte() noexcept {
    if (left_.empty()) return 0;
    const auto b = left_[0];
    left_ = left_.subspan(1);
    return b;
  }
  // The next piece: as many bytes as a leading byte says; a leading 255 means all that is left.
  std::span<const std::uint8_t> piece() noexcept {
    const std::size_t said = byte();
    const auto n = said == 255 ? left_.size() : std::min(said, left_.size());
    const auto p = left_.first(n);
    left_ = left_.subspan(n);
    return p;
  }
  std::string_view text() noexcept {
    const auto p = piece();
    return {reinterpret_cast<const char*>(p.data()), p.size()};
  }
  std::span<const std::uint8_t> rest() noexcept {
    const auto p = left_;
    left_ = {};
    return p;
  }
  bool empty() const noexcept { return left_.empty(); }

 private:
  std::span<const std::uint8_t> left_;
};

}  // namespace sidepool::test
