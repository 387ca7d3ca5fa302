// protocol/sql_chars.h -- bytes as PostgreSQL's lexer classes them.
#pragma once
#include <array>
#include <cstdint>
#include <cstring>

namespace sidepool::protocol::sql {

using Byte = std::uint8_t;

enum class Class : Byte { Symbol, Space, Letter, Digit, Quote, DoubleQuote, Dollar, Minus, Slash };

constexpr bool is_letter(unsigned c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c >= 0x80;
}
constexpr bool is_digit(unsigned c) { return c >= '0' && c <= '9'; }
// \v is white space from PostgreSQL 16 on and an error before.
constexpr bool is_space(unsigned c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

inline constexpr auto kClass = [] {
  std::array<Class, 256> t{};
  for (unsigned c = 0; c < 256; ++c) {
    if (is_letter(c)) t[c] = Class::Letter;
    if (is_digit(c)) t[c] = Class::Digit;
    if (is_space(c)) t[c] = Class::Space;
  }
  t['\''] = Class::Quote, t['"'] = Class::DoubleQuote, t['$'] = Class::Dollar;
  t['-'] = Class::Minus, t['/'] = Class::Slash;
  return t;
}();

// What a word may go on with: letters, digits and $.
inline constexpr auto kInWord = [] {
  std::array<bool, 256> t{};
  for (unsigned c = 0; c < 256; ++c) t[c] = is_letter(c) || is_digit(c) || c == '$';
  return t;
}();

// The first `c`, or `end`.
inline const Byte* find(const Byte* p, const Byte* end, char c) noexcept {
  const void* at = std::memchr(p, c, static_cast<std::size_t>(end - p));
  return at != nullptr ? static_cast<const Byte*>(at) : end;
}

}  // namespace sidepool::protocol::sql
