// protocol/scram_attributes.h -- the syntax of SCRAM messages (RFC 5802 §7); used by scram*.cpp only.
#pragma once
#include <cstdint>
#include <optional>
#include <string_view>

#include "protocol/bytes.h"

namespace sidepool::protocol {

// Takes "<letter>=<value>" and the comma behind it off the front of `text`. nullopt: something else is there.
inline std::optional<std::string_view> take_attribute(std::string_view& text, char letter) noexcept {
  if (text.size() < 2 || text[0] != letter || text[1] != '=') return std::nullopt;
  const auto comma = text.find(',');
  if (comma == text.size() - 1) return std::nullopt;  // a comma separates, it does not end
  const auto value = text.substr(2, comma == std::string_view::npos ? comma : comma - 2);
  text.remove_prefix(comma == std::string_view::npos ? text.size() : comma + 1);
  return value;
}

// Printable ASCII without comma (RFC 5802 §7, "nonce"), 1 to `max` characters.
inline bool valid_nonce(std::string_view s, std::size_t max) noexcept {
  if (s.empty() || s.size() > max) return false;
  for (const char c : s) {
    if (c <= ' ' || c > '~' || c == ',') return false;
  }
  return true;
}

// A number from 1 to `max`, without sign or leading zero.
inline std::optional<std::uint32_t> positive_number(std::string_view s, std::uint32_t max) noexcept {
  if (s.empty() || s.size() > 9 || s[0] == '0') return std::nullopt;
  std::uint32_t v = 0;
  for (const char c : s) {
    if (c < '0' || c > '9') return std::nullopt;
    v = v * 10 + static_cast<std::uint32_t>(c - '0');
  }
  if (v > max) return std::nullopt;
  return v;
}

}  // namespace sidepool::protocol
