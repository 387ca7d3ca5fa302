// protocol/base64.cpp -- table-free, small: inputs are a few dozen bytes a login.
#include "protocol/base64.h"

#include <algorithm>

namespace sidepool::protocol {
namespace {

constexpr std::string_view kAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

}  // namespace

std::string base64_encode(Bytes b) {
  std::string out;
  out.reserve((b.size() + 2) / 3 * 4);
  for (; !b.empty(); b = b.subspan(std::min<std::size_t>(3, b.size()))) {
    const std::uint32_t v = std::uint32_t{b[0]} << 16 | (b.size() > 1 ? std::uint32_t{b[1]} << 8 : 0U) |
                            (b.size() > 2 ? std::uint32_t{b[2]} : 0U);
    out += kAlphabet[v >> 18];
    out += kAlphabet[v >> 12 & 63];
    out += b.size() > 1 ? kAlphabet[v >> 6 & 63] : '=';
    out += b.size() > 2 ? kAlphabet[v & 63] : '=';
  }
  return out;
}

std::optional<Buffer> base64_decode(std::string_view text, std::size_t max) {
  if (text.empty() || text.size() % 4 != 0) return std::nullopt;
  const std::size_t padding = text.ends_with("==") ? 2 : text.ends_with('=') ? 1 : 0;
  const std::size_t size = text.size() / 4 * 3 - padding;
  if (size > max) return std::nullopt;
  Buffer out;
  out.reserve(size);
  std::uint32_t bits = 0;
  int have = 0;
  for (const char c : text.substr(0, text.size() - padding)) {
    const auto at = kAlphabet.find(c);
    if (at == std::string_view::npos) return std::nullopt;
    bits = bits << 6 | static_cast<std::uint32_t>(at);
    if ((have += 6) < 8) continue;
    have -= 8;
    out.push_back(static_cast<std::uint8_t>(bits >> have));
    bits &= (1U << have) - 1;
  }
  if (bits != 0) return std::nullopt;  // two texts for the same bytes
  return out;
}

}  // namespace sidepool::protocol
