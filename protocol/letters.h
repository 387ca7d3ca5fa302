// protocol/letters.h -- a set of message types, asked for each message that passes.
#pragma once
#include <array>
#include <cstdint>
#include <string_view>

namespace sidepool::protocol {

class Letters {
 public:
  // REQUIRES: ASCII.
  consteval explicit Letters(std::string_view types) noexcept {
    for (const char c : types) half(c) |= bit(c);
  }
  // Any byte may be asked for.
  constexpr bool has(char type) const noexcept {
    const auto code = static_cast<unsigned char>(type);
    return code < 128 && (halves_[code >> 6] >> (code & 63) & 1) != 0;
  }

 private:
  constexpr std::uint64_t& half(char c) noexcept { return halves_[static_cast<unsigned char>(c) >> 6]; }
  static constexpr std::uint64_t bit(char c) noexcept {
    return std::uint64_t{1} << (static_cast<unsigned char>(c) & 63);
  }
  std::array<std::uint64_t, 2> halves_{};
};

}  // namespace sidepool::protocol
