// src/base/ip_network.cpp -- see the header.
#include "src/base/ip_network.h"

#include <arpa/inet.h>

#include <charconv>
#include <string>
#include <utility>

namespace sidepool {
namespace {

// Empty: not an IP literal.
std::vector<unsigned char> bytes_of(std::string_view text) {
  const std::string name{text.substr(0, INET6_ADDRSTRLEN)};
  std::vector<unsigned char> bytes(sizeof(in6_addr));
  if (inet_pton(AF_INET6, name.c_str(), bytes.data()) == 1) return bytes;
  bytes.resize(sizeof(in_addr));
  if (inet_pton(AF_INET, name.c_str(), bytes.data()) == 1) return bytes;
  return {};
}

}  // namespace

bool is_ip_literal(std::string_view text) { return !bytes_of(text).empty(); }

std::optional<IpNetwork> IpNetwork::parse(std::string_view text) {
  const std::size_t slash = text.find('/');
  auto address = bytes_of(text.substr(0, slash));
  auto bits = static_cast<unsigned>(address.size() * 8);
  if (address.empty()) return std::nullopt;
  if (slash != std::string_view::npos) {
    const auto digits = text.substr(slash + 1);
    const unsigned most = bits;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), bits);
    if (error != std::errc{} || end != digits.data() + digits.size() || bits > most) return std::nullopt;
  }
  return IpNetwork{std::move(address), bits};
}

bool IpNetwork::contains(std::string_view address) const {
  const auto other = bytes_of(address);
  if (other.size() != address_.size()) return false;
  for (unsigned bit = 0; bit < bits_; ++bit)
    if (((address_[bit / 8] ^ other[bit / 8]) & (0x80U >> (bit % 8))) != 0) return false;
  return true;
}

}  // namespace sidepool
